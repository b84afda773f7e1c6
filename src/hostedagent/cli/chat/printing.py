"""Prints the answers of a chat: streamed Markdown, and tool calls and other activity in grey."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from hostedagent.cli.invoke.printing import StreamPrinter, summary


class ChatPrinter(StreamPrinter):
    """Renders Markdown in a terminal and prints plain text in a pipe.

    Args:
        console: The console; by default standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._text = MarkdownStream(self._console)
        super().__init__(self._text.write, self._text.close, lambda line: self._console.print(Text(line, style="dim")))

    def end(self, response: Mapping[str, Any]) -> None:
        """Print usage and time."""
        if self._console.is_terminal:
            self._console.print(Text(summary(response, time.monotonic() - self._began), style="dim"))


class MarkdownStream:
    """Renders streamed Markdown: finished blocks stay, and the last block is redrawn with each delta."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""
        self._live: Live | None = None

    def write(self, text: str) -> None:
        """Add a piece of text."""
        if not self._console.is_terminal:
            self._rest = text[-1:] or self._rest
            self._console.file.write(text)
            self._console.file.flush()
            return
        self._rest += text
        done, self._rest = split_blocks(self._rest)
        if done:
            self._draw(done, is_last=True)
        if self._rest.strip():
            self._draw(self._rest, is_last=False)

    def close(self) -> None:
        """End the text."""
        if not self._console.is_terminal:
            if self._rest not in ("", "\n"):
                self._console.file.write("\n")
        elif self._rest.strip():
            self._draw(self._rest, is_last=True)
        self._stop()
        self._rest = ""

    def _draw(self, text: str, *, is_last: bool) -> None:
        if is_last:
            self._stop()
            self._console.print(Markdown(text))
            return
        if self._live is None:
            self._live = Live(console=self._console, transient=True, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        self._live.update(Markdown(text), refresh=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None


def split_blocks(text: str) -> tuple[str, str]:
    """Split Markdown into finished blocks and the rest, at the last blank line outside a code block."""
    end = len(text)
    while (end := text.rfind("\n\n", 0, end)) != -1:
        if text.count("```", 0, end) % 2 == 0:
            return text[: end + 2], text[end + 2 :]
    return "", text
