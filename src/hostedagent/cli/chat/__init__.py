"""`hostedagent chat`: a conversation with an agent in the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hostedagent.cli.group import CommandError, fail, wants_color
from hostedagent.cli.invoke.header import Header, header
from hostedagent.platform import ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from hostedagent.cli.invoke.conversation import Conversation

COMMANDS: Final[Mapping[str, str]] = {
    "/new": "start over",
    "/turns": "list the turns of this conversation",
    "/back N": "continue after turn N: what follows becomes a branch",
    "/file PATH": "attach a file to the next message",
    "/help": "show these commands",
    "/quit": "leave; so does Ctrl+D",
}

_PROMPT: Final = "you> "


@click.command()
@click.option("--url", help="The agent's address.  [default: http://127.0.0.1:8088]")
@click.option("--agent", metavar="NAME", help="A deployed agent, with the credentials of azd, az or the machine.")
@click.option("--project", metavar="ENDPOINT", help=f"Its Foundry project.  [default: ${ENDPOINT_VARIABLE}]")
@click.option(
    "-H",
    "--header",
    "headers",
    type=header,
    multiple=True,
    metavar='"NAME: VALUE"',
    help="Send a header with each message; may be repeated.",
)
@click.option("--continue", "continues", is_flag=True, help="Continue where the last chat or invoke ended.")
@click.option(
    "--wait", type=float, default=10.0, metavar="SECONDS", help="Wait for a server that starts.  [default: 10]"
)
def command(
    url: str | None,
    agent: str | None,
    project: str | None,
    headers: tuple[Header, ...],
    continues: bool,
    wait: float,
) -> int:
    """Talk to an agent, on this machine or deployed.

    Answers appear as they arrive, with what the agent does on the way. Approvals, questions of a workflow and
    calls of client-side tools are asked at the prompt. Ctrl+C stops an answer; /help lists the commands.
    """
    from hostedagent.cli.chat.printing import ChatPrinter
    from hostedagent.cli.invoke.answers import Asker
    from hostedagent.cli.invoke.conversation import Conversation
    from hostedagent.cli.invoke.endpoint import find

    endpoint = find(url, agent, project)
    with Conversation(endpoint, ChatPrinter(), Asker(None), headers=headers, wait=wait) as conversation:
        if continues:
            conversation.resume()
        if sys.stdin.isatty():
            click.echo(f"Talking to {endpoint.url}\n/help lists the commands, Ctrl+D leaves.")
        Chat(conversation).run()
    return 0


@dataclass(slots=True)
class Turn:
    """A turn of this chat."""

    text: str
    response_id: str
    previous: str | None


@dataclass(slots=True)
class Chat:
    """Reads messages and commands, and records the turns for branching."""

    conversation: Conversation
    turns: list[Turn] = field(default_factory=list[Turn])
    files: list[str] = field(default_factory=list[str])

    def run(self) -> None:
        """Read and answer lines until the end of the input or `/quit`."""
        with _line_editing():
            while (line := _line()) is not None:
                if line.strip() in ("/quit", "/exit"):
                    return
                if line.startswith("/"):
                    self._command(line)
                elif line.strip():
                    self._say(line)

    def _say(self, text: str) -> None:
        from hostedagent.cli.invoke.conversation import message

        previous = self.conversation.previous
        try:
            response = self.conversation.say(message(text, self.files))
        except CommandError as error:
            fail(error.message)
            return
        except KeyboardInterrupt:
            click.echo("\nStopped.")
            return
        self.files.clear()
        self.turns.append(Turn(text, str(response["id"]), previous))

    def _command(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        known: Mapping[str, Callable[[str], None]] = {
            "/new": self._new,
            "/turns": self._list,
            "/back": self._back,
            "/file": self._attach,
            "/help": _help,
        }
        if name not in known:
            _help(argument, unknown=name)
        else:
            known[name](argument.strip())

    def _new(self, argument: str) -> None:
        self.conversation.previous = None
        self.turns.clear()
        click.echo("A new conversation.")

    def _list(self, argument: str) -> None:
        for number, turn in enumerate(self.turns, 1):
            mark = "*" if turn.response_id == self.conversation.previous else " "
            before = next((n for n, one in enumerate(self.turns, 1) if one.response_id == turn.previous), 0)
            after = f" (after {before})" if before != number - 1 else ""
            click.echo(f"{mark} {number}{after}  {turn.text[:60]}")
        if not self.turns:
            click.echo("There are no turns yet.")

    def _back(self, argument: str) -> None:
        number = int(argument) if argument.isdecimal() else -1
        if not 0 <= number <= len(self.turns):
            click.echo(f"/back takes the number of a turn, 0 to {len(self.turns)}; /turns lists them.")
            return
        first = self.turns[0].previous if self.turns else self.conversation.previous
        self.conversation.previous = self.turns[number - 1].response_id if number else first
        click.echo(f"The next message continues after turn {number}." if number else "The next message is the first.")

    def _attach(self, argument: str) -> None:
        path = Path(argument).expanduser()
        if not path.is_file():
            click.echo(f"There is no file {argument!r}.")
            return
        self.files.append(str(path))
        click.echo(f"{path.name} goes with the next message.")


def _help(argument: str, *, unknown: str | None = None) -> None:
    if unknown is not None:
        click.echo(f"There is no command {unknown}.")
    for name, purpose in COMMANDS.items():
        click.echo(f"  {name:<12} {purpose}")


def _line() -> str | None:
    while True:
        try:
            return input(_PROMPT) if sys.stdin.isatty() else input()
        except EOFError:
            if sys.stdin.isatty():
                click.echo()
            return None
        except KeyboardInterrupt:
            click.echo("\nCtrl+D leaves.", color=wants_color())


@contextlib.contextmanager
def _line_editing() -> Any:
    """Enable line editing and the history of earlier chats, if the platform has readline."""
    path = Path.home() / ".hostedagent" / "chat_history"
    try:
        import readline
    except ImportError:
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            readline.write_history_file(path)
