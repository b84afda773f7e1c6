"""What a user sees of a response: its text, its text as it comes, or its events."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from hostedagent.cli.invoke.answers import call
from hostedagent.protocol.types import Event, Item


class Printer:
    """Prints nothing."""

    streams = False
    """Whether it wants the events of a stream."""

    def event(self, event: Event) -> None:
        """Print one event of a stream."""

    def end(self, response: Mapping[str, Any]) -> None:
        """Print what is left to say of a whole response."""


class WholeText(Printer):
    """Prints the text of a response, and on stderr what was called on the way."""

    def end(self, response: Mapping[str, Any]) -> None:
        """Print the items in their order."""
        for item in cast("Sequence[Item]", response.get("output") or ()):
            if item["type"] == "message":
                print("".join(_texts(item)), flush=True)
            else:
                note(item)


class TextAsItComes(Printer):
    """Prints text word by word."""

    streams = True

    def event(self, event: Event) -> None:
        """Print a delta, or what was called."""
        match event["type"]:
            case "response.output_text.delta" | "response.refusal.delta":
                print(event["delta"], end="", flush=True)
            case "response.output_item.done" if event["item"]["type"] == "message":
                print(flush=True)
            case "response.output_item.done":
                note(event["item"])
            case _:
                pass


class EventLines(Printer):
    """Prints every event as one short line, with stable names instead of ids."""

    streams = True

    def __init__(self) -> None:
        from hostedagent.protocol.stream.rendering import Renderer

        self._renderer = Renderer()

    def event(self, event: Event) -> None:
        """Print the line."""
        print(self._renderer.line(event), flush=True)


PRINTERS: Final[Mapping[str, type[Printer]]] = {
    "text": WholeText,
    "stream": TextAsItComes,
    "events": EventLines,
    "json": Printer,
}
"""The way an answer is shown to what prints it."""


def note(item: Item) -> None:
    """Say on stderr what an item other than a message is."""
    match item["type"]:
        case "function_call" | "custom_tool_call" | "mcp_call":
            print(f"> {call(item)}", file=sys.stderr, flush=True)
        case "function_call_output" | "reasoning" | "mcp_approval_request" | "oauth_consent_request":
            pass
        case kind:
            print(f"> {kind}", file=sys.stderr, flush=True)


def _texts(item: Item) -> Iterator[str]:
    for part in item["content"]:
        yield part.get("text") or part.get("refusal") or ""
