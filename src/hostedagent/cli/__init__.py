"""The `hostedagent` command: one row in `COMMANDS` and one module for each subcommand.

A subcommand's module has `add_arguments(parser)` and `execute(arguments) -> int`, the exit code. All of them are
imported to build the parser, so what is slow to import is imported inside `execute`.

Exit codes: 0 done, 1 the user's code failed or the work could not be done, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Final, Protocol, cast

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("hostedagent.cli.run", "serve an agent or a workflow from a file or a module"),
    "invoke": ("hostedagent.cli.invoke", "ask an agent, on this machine or deployed"),
    "init": ("hostedagent.cli.init", "write a project that runs here and deploys with azd"),
    "doctor": ("hostedagent.cli.doctor", "check this machine and a project, and print what repairs it"),
    "emulator": ("hostedagent.cli.emulator", "serve the Foundry storage API on this machine"),
}
"""Subcommand to its module and what it does."""


class Command(Protocol):
    """What a subcommand's module offers."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do the work; returns the exit code."""
        ...


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; by default those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: The arguments are wrong, or `--help` was asked for.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(_version())
        return 0
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    command = cast("Command", import_module(COMMANDS[arguments.command][0]))
    try:
        return command.execute(arguments)
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="hostedagent", description="Serve a Microsoft Agent Framework agent over the Responses protocol."
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subcommands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (home, purpose) in COMMANDS.items():
        command = cast("Command", import_module(home))
        command.add_arguments(
            subcommands.add_parser(
                name,
                help=purpose,
                description=command.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"hostedagent {version('hostedagent')}"
