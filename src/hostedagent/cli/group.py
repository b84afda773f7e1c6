"""The command line around the subcommands: help, colours, suggestions for typos, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

import click

PROGRAM: Final = "hostedagent"

_INTERRUPTED: Final = 130

_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class CommandError(click.ClickException):
    """The command cannot do it; the message is for the user."""


class CommandLineError(CommandError):
    """The command line is wrong."""

    exit_code = 2


class HelpFormatter(click.HelpFormatter):
    """click's help with coloured headings and names, where the terminal has colours."""

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        super().write_heading(click.style(heading, fg="cyan", bold=True))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of names and what they mean."""
        super().write_dl([(click.style(name, bold=True), text) for name, text in rows], col_max, col_spacing)


class Context(click.Context):
    """A context whose help is coloured."""

    formatter_class = HelpFormatter


class Commands(click.Group):
    """The subcommands, each imported when it is used.

    Args:
        table: Subcommand to its module and its purpose.
    """

    context_class = Context

    def __init__(self, table: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(
            name=PROGRAM,
            help="Serve a Microsoft Agent Framework agent over the Responses protocol.",
            epilog=f"Run '{PROGRAM} COMMAND --help' for the options of a command.",
            context_settings=_SETTINGS,
            no_args_is_help=True,
        )
        self._table = table
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Print the version.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in self._table:
            return None
        command: click.Command = import_module(self._table[cmd_name][0]).command
        command.context_class = Context
        command.context_settings = {**_SETTINGS, **command.context_settings}
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or suggest the one that may have been meant."""
        if args and args[0] not in self._table and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self._table, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in self._table.items()])


def run(table: Mapping[str, tuple[str, str]], argv: list[str] | None) -> int:
    """Run a command line and return its exit code; usage errors are printed and not raised."""
    try:
        code = Commands(table).main(argv, prog_name=PROGRAM, standalone_mode=False, color=wants_color())
        sys.stdout.flush()
        return int(code or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return error.exit_code
    except click.UsageError as error:
        fail(error.format_message())
        if error.ctx is not None:
            click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)
        return error.exit_code
    except click.ClickException as error:
        fail(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed it. The interpreter flushes once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def wants_color() -> bool | None:
    """Whether the user asked for colours or for none; `None` to decide by the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return None


def fail(message: str) -> None:
    """Print an error of the command."""
    click.echo(f"{click.style(PROGRAM, fg='red', bold=True)}: {message}", err=True, color=wants_color())


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version(PROGRAM)}")
        context.exit()
