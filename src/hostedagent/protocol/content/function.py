"""Functions: a call that is streamed, and what it returned.

A call's fragments belong together by the occurrence id that Agent Framework stamps on them, else by the call id. A
snapshot of the arguments ends the call. The metadata-only repeat that follows a client-side tool's call adds nothing
new and is dropped. A call of a tool that asks for approval is kept back: the caller is asked instead (see
`approval.py`), and sees the call in the turn that runs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, cast

from agent_framework import Content, get_namespaced_value

from hostedagent.protocol.content.calls import raw_text, raw_value
from hostedagent.protocol.content.codec import (
    COMPLETED,
    BaseItem,
    Codec,
    End,
    Key,
    OpenItem,
    Output,
    Part,
    whole,
    wire_json,
    wire_text,
)
from hostedagent.protocol.content.fields import required_text
from hostedagent.protocol.content.parts import read_parts, write_part
from hostedagent.protocol.content.search import open_tool_search
from hostedagent.protocol.types import Emission, Event, Item, Json, MutableItem

_Kind = Literal["function_call", "custom_tool_call"]
_PREFIX: Final[dict[_Kind, str]] = {"function_call": "fc", "custom_tool_call": "ctc"}
_FIELD: Final[dict[_Kind, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
_EVENT: Final[dict[_Kind, str]] = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}


def read(item: Item) -> Sequence[Content]:
    """Read a call or an output of a function or of a custom tool."""
    call_id = required_text(item, "call_id")
    match item.get("type"):
        case "function_call" | "custom_tool_call" as kind:
            custom = kind == "custom_tool_call"
            call = Content.from_function_call(
                call_id,
                required_text(item, "name"),
                arguments=required_text(item, _FIELD[kind], may_be_empty=True),
                informational_only=custom,
                hosted=custom or None,
                additional_properties={"openai": {"item_type": kind}} if custom else None,
            )
            return [call]
        case _:
            parts = read_parts(item.get("output"), "output")
            return [Content.from_function_result(call_id, result=parts)]


def call_key(content: Content) -> str | None:
    """What tells calls apart: the occurrence id, else the call id; `None` on a bare continuation."""
    return content.id or content.call_id or None


def key(part: Part) -> Key | None:
    """A call and its result have keys of their own; a fragment that names no call belongs to the latest one."""
    ident = call_key(part.content)
    if part.content.type == "function_result":
        return ("function", "result", ident or "")
    return ("function", "call", ident) if ident else None


class OpenCall(BaseItem):
    """A call while its arguments come in."""

    outlasts = frozenset({"function_call"})

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        content = part.content
        item_type = get_namespaced_value(content.additional_properties, "openai", "item_type")
        self._kind: _Kind = "custom_tool_call" if item_type == "custom_tool_call" else "function_call"
        self._name = content.name or ""
        self._is_held = self._name in output.held_calls
        self._chunks: list[str] = []
        self._mapping: dict[str, Json] = {}

    def ends_before(self, part: Part) -> bool:
        """The next thing the author does ends a call, but not another call; a held call waits for its own end."""
        other = part.content
        if other.type == "function_result" and self._is_mine(other):
            return True
        if other.type == "function_approval_request":
            return other.function_call is not None and self._is_mine(other.function_call)
        if other.type == "function_call" or self._is_held:
            return False
        return super().ends_before(part)

    def ends_at_finish(self, message_id: str | None) -> bool:
        """A held call waits beyond the model call: the question, if there is one, comes after it."""
        return not self._is_held and super().ends_at_finish(message_id)

    def _is_mine(self, other: Content) -> bool:
        mine = self.first.content
        return call_key(other) == call_key(mine) or (other.call_id is not None and other.call_id == mine.call_id)

    def append(self, part: Part) -> Iterator[Emission]:
        """Take a fragment, a snapshot, or the repeat that marks a call as the caller's to run."""
        content = part.content
        self._name = self._name or content.name or ""
        is_snapshot = part.replaces or bool(content.user_input_request)
        if isinstance(content.arguments, Mapping):
            if not self._chunks:  # Else it repeats what was said as text.
                self._mapping = {**self._mapping, **content.arguments}
        elif content.arguments:
            yield from self._grow(self._missing(content.arguments) if is_snapshot else content.arguments)
        elif not self._chunks and self._name:
            yield from self._begin()
        if is_snapshot and not self._is_held:
            yield from self.close(COMPLETED)
            self.is_closed = True

    def _missing(self, snapshot: str) -> str:
        said = "".join(self._chunks)
        return snapshot[len(said) :] if snapshot.startswith(said) else ""

    def _begin(self) -> Iterator[Event]:
        if self.item is None and not self._is_held:
            self.item = self.output.item(_PREFIX[self._kind], self.first)
            yield self.item.added(self._wire("", "in_progress"))

    def _grow(self, text: str) -> Iterator[Event]:
        if not text:
            return
        text = wire_text(text)
        self._chunks.append(text)
        yield from self._begin()
        if self.item is not None:
            yield self.item.event(f"{_EVENT[self._kind]}.delta", delta=text)

    def _wire(self, arguments: str, status: str) -> MutableItem:
        item: MutableItem = {
            "type": self._kind,
            "call_id": self.first.content.call_id or self.first.content.id or "",
            "name": self._name,
            _FIELD[self._kind]: arguments,
        }
        return item if self._kind == "custom_tool_call" else {**item, "status": status}

    def close(self, end: End) -> Iterator[Emission]:
        """End the call; a held call that became a question, or waits for a later turn, leaves no item."""
        if self._is_held and end.before is not None and end.before.content.type == "function_approval_request":
            return
        if self._is_held and (call_key(self.first.content) or "") in self.output.deferred_calls:
            return
        if self._is_held:
            self._is_held = False
            held, self._chunks = "".join(self._chunks), []
            yield from self._grow(held)
        if self._mapping:
            yield from self._grow(wire_json(self._mapping))
        yield from self._begin()
        assert self.item is not None
        arguments = "".join(self._chunks)
        yield self.item.event(f"{_EVENT[self._kind]}.done", name=self._name, **{_FIELD[self._kind]: arguments})
        yield self.item.done(self._wire(arguments, end.status))


def write_output(content: Content) -> str | list[MutableItem]:
    """A result as an item's `output`: a string, or parts when it holds more than text. Never its exception."""
    if raw_text(content, "type") in _SERVICE_RESULTS:
        return wire_json(_without_ciphertext(raw_value(content, "content")))
    items = content.items or ()
    if any(item.type != "text" for item in items):
        return [write_part(item) for item in items]
    result = content.result
    if result is None:
        return wire_text("".join(item.text or "" for item in items))
    return wire_text(result) if isinstance(result, str) else wire_json(result)


# Anthropic's client writes these results as Python does; the service's own values are behind them.
# Can go when it gives them as contents (no issue of it is known upstream).
_SERVICE_RESULTS: Final = ("web_search_tool_result", "web_fetch_tool_result")


def _without_ciphertext(result: object) -> Json:
    """The service's values; what only the service can read is of no use in a result that goes back as text."""
    plain: Json = json.loads(wire_json(result))
    rows = cast("list[Json]", plain) if isinstance(plain, list) else [plain]
    for row in rows:
        if isinstance(row, dict):
            cast("MutableItem", row).pop("encrypted_content", None)
    return cast("Json", plain)


def _write_result(part: Part) -> MutableItem:
    content = part.content
    item_type = get_namespaced_value(content.additional_properties, "openai", "item_type")
    item: MutableItem = {"call_id": content.call_id or "", "output": write_output(content)}
    if item_type == "custom_tool_call_output":
        return {"type": "custom_tool_call_output", **item}
    return {"type": "function_call_output", **item, "status": "completed"}


_open_result = whole("fco", _write_result)


def open_function(part: Part, output: Output) -> OpenItem:
    """A call streams; a result comes whole. OpenAI's client makes a function call of its search for tools."""
    content = part.content
    if content.type == "function_result":
        return _open_result(part, output)
    if get_namespaced_value(content.additional_properties, "openai", "item_type") == "tool_search_call":
        return open_tool_search(part, output)
    return OpenCall(part, output)


FUNCTION = Codec(
    family="function",
    content_types=("function_call", "function_result"),
    item_types={
        "function_call": "assistant",
        "function_call_output": "tool",
        "custom_tool_call": "assistant",
        "custom_tool_call_output": "tool",
    },
    read=read,
    open=open_function,
    key=key,
)
