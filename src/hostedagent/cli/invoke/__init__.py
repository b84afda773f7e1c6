"""Ask an agent, on this machine or deployed, and print what it answers.

What the agent asks back (approvals, questions of a workflow, calls of client-side tools) is asked at the terminal, and
the answer is sent. Without a terminal the command ends with exit code 3 and says what waits.

Exit codes: 0 completed, 1 failed or not reachable, 2 the command line is wrong, 3 the agent waits for an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from hostedagent.cli.invoke.header import header


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `invoke`."""
    parser.add_argument("text", nargs="?", help="what to say; read from standard input when it is left out or -")
    where = parser.add_argument_group("where the agent is")
    where.add_argument("--url", help="the agent's address (default: http://127.0.0.1:8088)")
    where.add_argument(
        "--agent", metavar="NAME", help="a deployed agent, with the credentials of azd, az or the machine"
    )
    where.add_argument("--project", metavar="ENDPOINT", help="its Foundry project (default: $FOUNDRY_PROJECT_ENDPOINT)")
    what = parser.add_argument_group("what is sent")
    what.add_argument("--file", action="append", default=[], metavar="PATH", help="send a file along; may be repeated")
    what.add_argument(
        "-H",
        "--header",
        dest="headers",
        type=header,
        action="append",
        default=[],
        metavar='"NAME: VALUE"',
        help="send a header, in place of one of its own; may be repeated",
    )
    goes_on = what.add_mutually_exclusive_group()
    goes_on.add_argument("--conversation", metavar="ID", help="say it in this conversation")
    goes_on.add_argument("--continue", dest="goes_on", action="store_true", help="go on where the last invoke ended")
    shown = parser.add_argument_group("what is shown").add_mutually_exclusive_group()
    shown.add_argument("--stream", action="store_true", help="print the text as it comes")
    shown.add_argument("--events", action="store_true", help="print every event as one line")
    shown.add_argument("--json", action="store_true", help="print the response as JSON")
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--approve", action="store_true", help="approve every call that the agent asks about")
    answers.add_argument("--reject", action="store_true", help="reject every call that the agent asks about")


def execute(arguments: argparse.Namespace) -> int:
    """Ask, answer what is asked back, and print."""
    from hostedagent.cli.invoke.answers import Asker
    from hostedagent.cli.invoke.conversation import Conversation
    from hostedagent.cli.invoke.endpoint import InvokeError, find
    from hostedagent.cli.invoke.files import message
    from hostedagent.cli.invoke.printing import EventLines, Printer, TextAsItComes, WholeText

    show: Printer = EventLines() if arguments.events else TextAsItComes() if arguments.stream else WholeText()
    verdict = True if arguments.approve else False if arguments.reject else None
    try:
        said = message(_text(arguments.text), arguments.file)
        endpoint = find(arguments.url, arguments.agent, arguments.project)
        conversation = Conversation(
            endpoint,
            Printer() if arguments.json else show,
            Asker(verdict),
            conversation_id=arguments.conversation,
            headers=arguments.headers,
        )
        if arguments.goes_on:
            conversation.go_on()
        response = asyncio.run(conversation.say(said))
    except InvokeError as error:
        print(f"hostedagent: {error}", file=sys.stderr)
        return error.code
    if arguments.json:
        print(json.dumps(response, indent=2, ensure_ascii=False))
    return conversation.exit_code


def _text(given: str | None) -> str:
    return sys.stdin.read().rstrip("\n") if given in (None, "-") else str(given)
