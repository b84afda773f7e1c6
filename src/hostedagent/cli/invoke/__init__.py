"""`hostedagent invoke`: sends one message to an agent, on this machine or deployed, and prints the answer."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hostedagent.cli.invoke.header import Header, header
from hostedagent.platform import ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from hostedagent.cli.invoke.answers import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeOptions:
    """The options of `invoke`, as its help describes them."""

    text: str | None
    url: str | None
    agent: str | None
    project: str | None
    files: tuple[str, ...]
    headers: tuple[Header, ...]
    conversation: str | None
    continues: bool
    shown: str
    verdict: Verdict | None
    wait: float


@click.command()
@click.argument("text", required=False)
@click.option("--url", help="The agent's address.  [default: http://127.0.0.1:8088]")
@click.option("--agent", metavar="NAME", help="A deployed agent, with the credentials of azd, az or the machine.")
@click.option("--project", metavar="ENDPOINT", help=f"Its Foundry project.  [default: ${ENDPOINT_VARIABLE}]")
@click.option("--file", "files", multiple=True, metavar="PATH", help="Attach a file; may be repeated.")
@click.option(
    "-H",
    "--header",
    "headers",
    type=header,
    multiple=True,
    metavar='"NAME: VALUE"',
    help="Send a header, in place of one with the same name; may be repeated.",
)
@click.option("--conversation", metavar="ID", help="Send it in this conversation.")
@click.option("--continue", "continues", is_flag=True, help="Continue where the last invoke ended.")
@click.option("--stream", "shown", flag_value="stream", help="Print the text as it arrives.")
@click.option("--events", "shown", flag_value="events", help="Print every event as one line.")
@click.option("--json", "shown", flag_value="json", help="Print the response as JSON.")
@click.option(
    "--wait", type=float, default=5.0, metavar="SECONDS", help="Wait for a local server that starts.  [default: 5]"
)
@click.option("--approve", is_flag=True, help="Approve every call that the agent asks about.")
@click.option("--always-approve", is_flag=True, help="Approve them, and later calls of the same tools.")
@click.option("--reject", is_flag=True, help="Reject every call that the agent asks about.")
def command(shown: str | None, approve: bool, always_approve: bool, reject: bool, **options: Any) -> int:
    """Send one message to an agent, on this machine or deployed, and print the answer.

    TEXT is the message; it is read from standard input when it is omitted or -. What the agent asks back (approvals,
    questions of a workflow, calls of client-side tools) is asked at the terminal, and the answer is sent. Without a
    terminal the command ends with exit code 3 and names what waits.

    Exit codes: 0 completed, 1 failed or not reachable, 2 the command line is wrong, 3 the agent waits for an answer.
    """
    if options["conversation"] is not None and options["continues"]:
        raise click.UsageError("--conversation and --continue exclude each other.")
    if approve + always_approve + reject > 1:
        raise click.UsageError("--approve, --always-approve and --reject exclude each other.")
    verdict: Verdict | None = "approve" if approve else "always" if always_approve else "reject" if reject else None
    return ask(InvokeOptions(**options, shown=shown or "text", verdict=verdict))


def ask(options: InvokeOptions) -> int:
    """Send the message, answer the agent's requests, print, and return the exit code."""
    from hostedagent.cli.invoke.answers import Asker
    from hostedagent.cli.invoke.conversation import Conversation, message
    from hostedagent.cli.invoke.endpoint import find
    from hostedagent.cli.invoke.printing import PRINTERS

    said = message(_text(options.text), options.files)
    endpoint = find(options.url, options.agent, options.project)
    with Conversation(
        endpoint,
        PRINTERS[options.shown](),
        Asker(options.verdict),
        conversation_id=options.conversation,
        headers=options.headers,
        wait=0.0 if endpoint.is_deployed else options.wait,
    ) as conversation:
        if options.continues:
            conversation.resume()
        response = conversation.say(said)
    if options.shown == "json":
        print(json.dumps(response, indent=2, ensure_ascii=False))
    return conversation.exit_code


def _text(given: str | None) -> str:
    return sys.stdin.read().rstrip("\n") if given in (None, "-") else str(given)
