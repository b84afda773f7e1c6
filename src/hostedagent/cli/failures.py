"""Shows an exception to the developer at the terminal: its text, its causes and the frames of the developer's own code.

For a developer's machine only. A hosted process logs the type of an error and never its text.
"""

from __future__ import annotations

import importlib
import logging
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Final

import click

from hostedagent.cli.group import wants_color

_LONGEST: Final = 4000
"""Characters of one error's text."""

_TOOL_FAILED: Final = "Function '%s' raised an exception"
"""Prefix of Agent Framework's log line about an exception in a tool, after which the model gets an error result."""


def show(what: str, error: BaseException) -> None:
    """Print an exception on standard error."""
    try:
        text = rendered(error)
    except Exception:  # noqa: BLE001  # Formatting an error may raise, which must not replace the error.
        from hostedagent.observability.logging import kinds_of

        text = kinds_of(error)
    click.echo(f"\n{click.style(what, fg='red', bold=True)}\n{text}", err=True, color=wants_color())


def rendered(error: BaseException) -> str:
    """The exception with the frames of the developer's own code."""
    is_colored = wants_color()
    if is_colored if is_colored is not None else sys.stderr.isatty():
        return _in_color(error)
    found = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = found
    while link is not None:
        link.stack = traceback.StackSummary.from_list([row for row in link.stack if is_own(row.filename)])
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _shortened("".join(found.format()).rstrip())


def _in_color(error: BaseException) -> str:
    from rich.console import Console
    from rich.traceback import Traceback

    trace = Traceback.extract(type(error), error, error.__traceback__)
    for stack in trace.stacks:
        stack.frames = [frame for frame in stack.frames if is_own(frame.filename)]
        stack.exc_value = _shortened(stack.exc_value)
    console = Console(stderr=True, force_terminal=True)
    with console.capture() as captured:
        console.print(Traceback(trace, width=console.width, extra_lines=2))
    return captured.get().rstrip()


def is_own(filename: str) -> bool:
    """Whether a file is the developer's: not of Python, of an installed package, or of hostedagent."""
    if filename.startswith("<") or filename == importlib.__file__:
        return False
    path = Path(filename).resolve()
    return not any(path.is_relative_to(place) for place in _FOREIGN)


def show_tool_failures() -> None:
    """Show exceptions in tools, which Agent Framework catches, logs by their type, and reports to the model."""

    def seen(record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        if not str(record.msg).startswith(_TOOL_FAILED) or error is None:
            return True
        names = record.args if isinstance(record.args, tuple) else ()
        show(f"The tool {names[0] if names else ''} failed. The model gets an error as its result.", error)
        return False

    logging.getLogger("agent_framework").addFilter(seen)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} characters more)"


_FOREIGN: Final = tuple(
    Path(place).resolve()
    for place in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(__file__).parents[1]),
    )
)
