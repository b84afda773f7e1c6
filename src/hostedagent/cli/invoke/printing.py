"""Prints a response: its text, its text as it arrives, or its events."""

from __future__ import annotations

import base64
import binascii
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hostedagent.cli.invoke.answers import asked_by_workflow, call
from hostedagent.protocol.types import Event, Item
from hostedagent.protocol.values import rows_of

Show = Callable[[str], None]

_LONGEST: Final = 300
"""Characters of a tool's result or of reasoning that are shown."""

_ENDINGS: Final[Mapping[bytes, str]] = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif"}


class Printer:
    """Prints nothing."""

    streams = False
    """Whether it wants the events of a stream."""

    def __init__(self) -> None:
        self.rejected: set[str] = set()
        """The calls that the caller has rejected, as `call` writes them: they did not run."""
        self._rejected_ids: set[str] = set()
        self._began = time.monotonic()

    def begin(self) -> None:
        """A request is sent: its time runs from here, without that of the prompts before it."""
        self._began = time.monotonic()

    def notes(self, item: Item) -> Iterator[str]:
        """The lines about an item; a rejected call is marked as such."""
        if item["type"] in ("function_call", "mcp_call") and call(item) in self.rejected:
            self._rejected_ids.add(str(item.get("call_id")))
            yield f"x {call(item)} rejected"
        elif item["type"] != "function_call_output" or item.get("call_id") not in self._rejected_ids:
            yield from notes(item)

    def event(self, event: Event) -> None:
        """Print one event of a stream."""

    def close(self) -> None:
        """End what is open of a stream that has ended, was stopped, or broke."""

    def end(self, response: Mapping[str, Any]) -> None:
        """Print the remaining parts of a whole response."""


class WholeText(Printer):
    """Prints the text of a response, and tool calls and other items on standard error."""

    def end(self, response: Mapping[str, Any]) -> None:
        """Print the items in their order."""
        for item in rows_of(response.get("output")):
            if item["type"] == "message":
                print("".join(texts(item)), flush=True)
            for line in self.notes(item):
                _note(line)
        if sys.stderr.isatty():
            _note(summary(response, time.monotonic() - self._began))


class OneAtATime:
    """Orders the texts of concurrent messages.

    The first open message is streamed; the others wait until it is done.

    Args:
        write: Shows a piece of the current message.
        close: Ends the current message.
    """

    def __init__(self, write: Show, close: Callable[[], None]) -> None:
        self._write = write
        self._close = close
        self._waiting: dict[int, list[str]] = {}
        self._done: set[int] = set()
        self._current: int | None = None

    def add(self, index: int, text: str) -> None:
        """Add a delta to the message at an output index."""
        if self._current is None:
            self._current = index
        if index == self._current:
            self._write(text)
        else:
            self._waiting.setdefault(index, []).append(text)

    def finish(self, index: int) -> None:
        """End the message at an output index."""
        if index != self._current:
            if index in self._waiting:
                self._done.add(index)
            return
        self._close()
        self._current = None
        while self._waiting and self._current is None:
            following = min(self._waiting)
            self._write("".join(self._waiting.pop(following)))
            if following in self._done:
                self._done.discard(following)
                self._close()
            else:
                self._current = following

    def close(self) -> None:
        """End the current message and drop those that wait: nothing follows."""
        if self._current is not None:
            self._close()
        self._current = None
        self._waiting.clear()
        self._done.clear()


class StreamPrinter(Printer):
    """Shows text as it arrives, and lines about other items.

    Args:
        write: Shows a piece of the current message.
        close: Ends the current message.
        note: Shows a line about an item.
    """

    streams = True

    def __init__(self, write: Show, close: Callable[[], None], note: Show) -> None:
        super().__init__()
        self._order = OneAtATime(write, close)
        self._note = note

    def event(self, event: Event) -> None:
        """Print a delta, or the lines about an item."""
        match event["type"]:
            case "response.output_text.delta" | "response.refusal.delta":
                self._order.add(event["output_index"], event["delta"])
            case "response.output_item.done":
                if event["item"]["type"] == "message":
                    self._order.finish(event["output_index"])
                for line in self.notes(event["item"]):
                    self._note(line)
            case _:
                pass

    def close(self) -> None:
        """End the text."""
        self._order.close()


class TextAsItArrives(StreamPrinter):
    """Prints text word by word."""

    def __init__(self) -> None:
        super().__init__(lambda text: print(text, end="", flush=True), lambda: print(flush=True), _note)

    def end(self, response: Mapping[str, Any]) -> None:
        """Print usage and time at a terminal."""
        if sys.stderr.isatty():
            _note(summary(response, time.monotonic() - self._began))


class EventLines(Printer):
    """Prints every event as one short line, with stable names instead of ids."""

    streams = True

    def __init__(self) -> None:
        super().__init__()
        from hostedagent.protocol.stream.rendering import Renderer

        self._renderer = Renderer()

    def event(self, event: Event) -> None:
        """Print the line."""
        print(self._renderer.line(event), flush=True)


PRINTERS: Final[Mapping[str, type[Printer]]] = {
    "text": WholeText,
    "stream": TextAsItArrives,
    "events": EventLines,
    "json": Printer,
}
"""The way an answer is shown to what prints it."""


def notes(item: Item) -> Iterator[str]:
    """Lines about an item beside the text of messages: calls, results, reasoning, images, citations."""
    read = _NOTES.get(item["type"])
    yield from read(item) if read is not None else (f"> {item['type']}",)


def _message(item: Item) -> Iterator[str]:
    for number, (title, target) in enumerate(_citations(item), 1):
        yield f"[{number}] {title} {target}"


def _call(item: Item) -> Iterator[str]:
    if asked_by_workflow(item) is None:  # The prompt shows it.
        yield f"> {call(item)}"


def _mcp_call(item: Item) -> Iterator[str]:
    yield f"> {call(item)}"
    if result := item.get("error") or item.get("output"):
        yield f"< {_short(result)}"


def _result(item: Item) -> Iterator[str]:
    yield f"< {_short(item.get('output'))}"


def _reasoning(item: Item) -> Iterator[str]:
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    if thought := " ".join(str(part.get("text") or "") for part in parts).strip():
        yield f"~ {_short(thought)}"


def _image(item: Item) -> Iterator[str]:
    yield f"> image: {_saved(item)}"


def _nothing(item: Item) -> Iterator[str]:
    """Not printed, because the prompt shows it."""
    return iter(())


_NOTES: Final[Mapping[str, Callable[[Item], Iterator[str]]]] = {
    "message": _message,
    "function_call": _call,
    "custom_tool_call": _call,
    "mcp_call": _mcp_call,
    "function_call_output": _result,
    "custom_tool_call_output": _result,
    "reasoning": _reasoning,
    "image_generation_call": _image,
    "mcp_approval_request": _nothing,
    "oauth_consent_request": _nothing,
}
"""Type of an item to what is printed of it; any other type is printed by its name."""


def summary(response: Mapping[str, Any], seconds: float) -> str:
    """Usage and time in one line."""
    usage: Mapping[str, Any] = response.get("usage") or {}
    tokens = [f"{usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens"] if usage else []
    return ", ".join([*tokens, f"{seconds:.1f} s"])


def texts(item: Item) -> Iterator[str]:
    """The texts of a message."""
    for part in item["content"]:
        yield part.get("text") or part.get("refusal") or ""


def _citations(item: Item) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {}
    for part in item["content"]:
        for note in part.get("annotations") or ():
            target = note.get("url") or note.get("filename") or note.get("file_id")
            if target:
                found.setdefault(str(target), str(note.get("title") or ""))
    yield from ((title, target) for target, title in found.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} characters more)"


def _saved(item: Item) -> str:
    """The path of an image, which is written to a temporary file."""
    try:
        data = base64.b64decode(item.get("result") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    if not data:
        return str(item.get("status") or "no data")
    ending = next((name for start, name in _ENDINGS.items() if data.startswith(start)), ".bin")
    with tempfile.NamedTemporaryFile(prefix="hostedagent-", suffix=ending, delete=False) as file:
        file.write(data)
    return str(Path(file.name))


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
