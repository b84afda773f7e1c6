"""Converts the events of a turn to the message and the chunks of Chat Completions.

Chat Completions knows only the caller's own tools: calls of the agent's tools are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import fields_of

_FINISH: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Reason of an incomplete response to the `finish_reason`."""

TEXT: Final = "response.output_text.delta"
"""Type of the event with a delta of the text."""

_PARAGRAPH: Final = "\n\n"

_DETAILS: Final = {
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}
"""Names of usage details in the Responses protocol."""


def usage_of(response: Mapping[str, Json]) -> dict[str, Json] | None:
    """The token counts of a response with the names of Chat Completions; `None` if unknown."""
    if (usage := response.get("usage")) is None:
        return None
    counts: dict[str, Json] = {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
    return counts | {name: usage[own] for name, own in _DETAILS.items() if usage.get(own)}


def finish_reason(response: Mapping[str, Json]) -> str:
    """The finish reason."""
    if response["status"] == "incomplete":
        return _FINISH.get(fields_of(response.get("incomplete_details")).get("reason", ""), "stop")
    return "tool_calls" if any(_callers_calls(response)) else "stop"


def message_of(response: Mapping[str, Json]) -> dict[str, Json]:
    """The message of an answer that is not streamed."""
    output: Sequence[Item] = response["output"]
    message: dict[str, Json] = {
        "role": "assistant",
        "content": _joined(output, "message", "content", "text"),
        "refusal": _joined(output, "message", "content", "refusal"),
    }
    thoughts = _joined(output, "reasoning", "content", "text") or _joined(output, "reasoning", "summary", "text")
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls := [_call(item) for item in _callers_calls(response)]:
        message["tool_calls"] = calls
    return message


def _joined(output: Sequence[Item], kind: str, place: str, name: str) -> str | None:
    items = (item for item in output if item["type"] == kind)
    texts = ("".join(part.get(name) or "" for part in item.get(place) or ()) for item in items)
    return _PARAGRAPH.join(text for text in texts if text) or None


def _callers_calls(response: Mapping[str, Json]) -> Iterator[Item]:
    names = _callers_tools(response)
    return (item for item in response["output"] if item["type"] == "function_call" and item["name"] in names)


def _callers_tools(response: Mapping[str, Json]) -> frozenset[str]:
    return frozenset(tool["name"] for tool in response.get("tools") or () if "name" in tool)


def _call(item: Item) -> dict[str, Json]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


class Deltas(Struct):
    """The deltas of one streamed answer.

    Args:
        response: The response in the last event that carried one.
    """

    response: Mapping[str, Json] = field(default_factory=dict[str, Json])
    _tools: Collection[str] = ()
    _has_text: bool = False
    _has_thoughts: bool = False
    _calls: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, event: Event) -> dict[str, Json] | None:
        """The delta of an event; `None` if it has none."""
        handler = _HANDLERS.get(event["type"])
        if handler is not None:
            return handler(self, event)
        self.response = event.get("response", self.response)
        return None

    def created(self, event: Event) -> dict[str, Json]:
        """The first delta."""
        self.response = event["response"]
        self._tools = _callers_tools(self.response)
        return {"role": "assistant", "content": ""}

    def text(self, event: Event) -> dict[str, Json]:
        """A delta of the text."""
        self._has_text = True
        return {"content": event["delta"]}

    def refused(self, event: Event) -> dict[str, Json]:
        """A delta of a refusal."""
        return {"refusal": event["delta"]}

    def thought(self, event: Event) -> dict[str, Json]:
        """A delta of the reasoning, with the name that chat front ends read."""
        self._has_thoughts = True
        return {"reasoning_content": event["delta"]}

    def began(self, event: Event) -> dict[str, Json] | None:
        """The start of a call of one of the caller's tools; a further message or thought starts a paragraph."""
        item: Item = event["item"]
        if item["type"] == "reasoning" and self._has_thoughts:
            return {"reasoning_content": _PARAGRAPH}
        if item["type"] == "message" and self._has_text:
            return {"content": _PARAGRAPH}
        if item["type"] != "function_call" or item["name"] not in self._tools:
            return None
        n = self._calls[item["id"]] = len(self._calls)
        return {"tool_calls": [{"index": n, **_call({**item, "arguments": ""})}]}

    def argued(self, event: Event) -> dict[str, Json] | None:
        """A delta of the arguments of a call."""
        n = self._calls.get(event["item_id"])
        return {"tool_calls": [{"index": n, "function": {"arguments": event["delta"]}}]} if n is not None else None


_HANDLERS: Final[Mapping[str, Callable[[Deltas, Event], dict[str, Json] | None]]] = {
    "response.created": Deltas.created,
    TEXT: Deltas.text,
    "response.refusal.delta": Deltas.refused,
    "response.reasoning_text.delta": Deltas.thought,
    "response.reasoning_summary_text.delta": Deltas.thought,
    "response.output_item.added": Deltas.began,
    "response.function_call_arguments.delta": Deltas.argued,
}
"""Event to the function that returns its delta; other events have none."""
