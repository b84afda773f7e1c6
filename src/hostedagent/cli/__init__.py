"""The `hostedagent` command: one row in `COMMANDS` and one module for each subcommand.

A subcommand's module has a `command`, which returns its exit code. It is imported only when that subcommand runs, so
that `hostedagent run` does not load the modules of `hostedagent doctor`.

Exit codes: 0 success, 1 the user's code or the command failed, 2 the command line is wrong.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("hostedagent.cli.run", "Serve an agent or a workflow from a file or a module."),
    "invoke": ("hostedagent.cli.invoke", "Send one message to an agent and print the answer."),
    "chat": ("hostedagent.cli.chat", "Talk to an agent in the terminal."),
    "init": ("hostedagent.cli.init", "Create a project that runs here and deploys with azd."),
    "doctor": ("hostedagent.cli.doctor", "Check this machine and a project, and print the fixes."),
    "migrate": ("hostedagent.cli.migrate", "Create and upgrade the tables of the PostgreSQL store."),
    "emulator": ("hostedagent.cli.emulator", "Serve the Foundry storage API on this machine."),
}
"""Subcommand to its module and its purpose."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from hostedagent.cli.group import run

    return run(COMMANDS, argv)
