"""Function calls that the caller runs, and results of functions, as items of their own.

A snapshot of the arguments ends a call. The repeat without arguments that follows the call of a client-side tool is
dropped. A call of a tool that needs approval is held back: the caller gets an approval request instead (see
`approval.py`), and sees the call in the turn that runs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from agent_framework import Content, get_namespaced_value

from hostedagent.protocol.content.calls import raw_text, raw_value
from hostedagent.protocol.content.codec import COMPLETED, Batch, End, OpenItem, Output, Part, whole
from hostedagent.protocol.content.outputs import contents_of, is_binary
from hostedagent.protocol.content.parts import write_part
from hostedagent.protocol.json import is_whole
from hostedagent.protocol.types import Emission, Event, Json, MutableItem
from hostedagent.protocol.values import each_of, is_array, is_object
from hostedagent.protocol.wire import Characters, wire_json, wire_text

CallKind = Literal["function_call", "custom_tool_call"]
FIELD: Final[dict[CallKind, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
_PREFIX: Final[dict[CallKind, str]] = {"function_call": "fc", "custom_tool_call": "ctc"}
_EVENT: Final[dict[CallKind, str]] = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}


def call_key(content: Content) -> str | None:
    """The identity of a call: the occurrence id, else the call id; `None` for a continuation without an id."""
    return content.id or content.call_id or None


def is_same_call(one: Content, other: Content) -> bool:
    """Whether two contents are about the same call."""
    return call_key(one) == call_key(other) or (one.call_id is not None and one.call_id == other.call_id)


def call_kind(content: Content) -> CallKind:
    """Whether a call is one of a function or of a custom tool."""
    item_type = get_namespaced_value(content.additional_properties, "openai", "item_type")
    return "custom_tool_call" if item_type == "custom_tool_call" else "function_call"


class Arguments:
    """Collects the arguments of a call from fragments, snapshots or a mapping."""

    __slots__ = ("_characters", "_chunks", "_mapping")

    def __init__(self) -> None:
        self._characters = Characters()
        self._chunks: list[str] = []
        self._mapping: dict[str, Json] = {}

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def text(self) -> str:
        """The arguments so far."""
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    def take(self, content: Content, *, is_snapshot: bool) -> str:
        """Add the arguments of a content and return the new text."""
        arguments = content.arguments
        if isinstance(arguments, Mapping):
            if not self._chunks:  # Otherwise it repeats the text that has arrived.
                self._mapping = {**self._mapping, **arguments}
            return ""
        if not arguments:
            return ""
        if is_snapshot:
            self._characters.half = ""  # The snapshot repeats the character whole.
            return self._add(self._missing(wire_text(arguments)))
        return self._add(self._characters.take(arguments))

    def rest(self, *, empty: str = "{}") -> str:
        """Complete the arguments and return the new text. Without any, they are `empty`."""
        if rest := self._characters.rest():
            return self._add(rest)
        if self.text.strip():
            return ""
        return self._add(wire_json(self._mapping) if self._mapping else empty)

    def _missing(self, snapshot: str) -> str:
        known = self.text
        return snapshot[len(known) :] if snapshot.startswith(known) else ""

    def _add(self, text: str) -> str:
        if text:
            self._chunks.append(text)
        return text


class OpenCall(OpenItem):
    """A call while its arguments arrive.

    Args:
        may_wait: Whether the call is held back while it may become an approval request.
    """

    outlasts = frozenset({"function_call"})

    def __init__(self, part: Part, output: Output, *, may_wait: bool = True, batch: Batch | None = None) -> None:
        super().__init__(part, output)
        content = part.content
        self._kind: CallKind = call_kind(content)
        self._name = content.name or ""
        self._is_held = may_wait and self._name in output.tools.asking
        self._arguments = Arguments()
        self._batch = batch

    def ends_before(self, part: Part) -> bool:
        """The author's next part ends a call, unless it is another call; a held call waits for its own end."""
        other = part.content
        if other.type == "function_result" and is_same_call(self.first.content, other):
            return True
        if other.type == "function_approval_request":
            return other.function_call is not None and is_same_call(self.first.content, other.function_call)
        if other.type == "function_call" or self._is_held:
            return False
        return super().ends_before(part)

    def ends_at_finish(self, message_id: str | None) -> bool:
        """A held call outlasts the model call: the approval request, if any, arrives after it."""
        return not self._is_held and super().ends_at_finish(message_id)

    def append(self, part: Part) -> Iterator[Emission]:
        """Take a fragment, a snapshot, or the repeat that marks a call as the caller's to run."""
        content = part.content
        self._name = self._name or content.name or ""
        is_snapshot = part.replaces or bool(content.user_input_request)
        is_mapping = isinstance(content.arguments, Mapping)
        text = self._arguments.take(content, is_snapshot=is_snapshot)
        if text:
            yield from self._delta(text)
        elif not is_mapping and not content.arguments and not self._arguments and self._name:
            yield from self._begin()
        if is_snapshot and not self._is_held:
            yield from self.close(COMPLETED)
            self.is_closed = True

    def _begin(self) -> Iterator[Event]:
        if self.item is None and not self._is_held:
            self.item = self.output.item(_PREFIX[self._kind], self.first, self._batch)
            yield self.item.added(self._wire("", "in_progress"))

    def _delta(self, text: str) -> Iterator[Event]:
        yield from self._begin()
        if self.item is not None:
            yield self.item.event(f"{_EVENT[self._kind]}.delta", delta=text)

    def _wire(self, arguments: str, status: str) -> MutableItem:
        item: MutableItem = {
            "type": self._kind,
            "call_id": self.first.content.call_id or self.first.content.id or "",
            "name": self._name,
            FIELD[self._kind]: arguments,
        }
        return item if self._kind == "custom_tool_call" else {**item, "status": status}

    def close(self, end: End) -> Iterator[Emission]:
        """End the call; a held call that became an approval request, or waits for a later turn, has no item."""
        if self._is_held and end.before is not None and end.before.content.type == "function_approval_request":
            return
        if self._is_held and (call_key(self.first.content) or "") in self.output.deferred_calls:
            return
        if self._is_held:
            self._is_held = False
            if self._arguments:
                yield from self._delta(self._arguments.text)
        is_function = self._kind == "function_call"
        if rest := self._arguments.rest(empty="{}" if is_function and end.status == "completed" else ""):
            yield from self._delta(rest)
        yield from self._begin()
        arguments = self._arguments.text
        status = "incomplete" if is_function and not is_whole(arguments) else end.status
        yield self.opened.event(f"{_EVENT[self._kind]}.done", name=self._name, **{FIELD[self._kind]: arguments})
        yield self.opened.done(self._wire(arguments, status))


def write_output(content: Content) -> str | list[MutableItem]:
    """A result as an item's `output`: a string, or parts if it contains more than text. Never its exception."""
    if raw_text(content, "type") in _SERVICE_RESULTS:
        return wire_json(_without_ciphertext(raw_value(content, "content")))
    result: object = content.result
    items = contents_of(content.items) or (contents_of(result) if _holds_contents(result) else [])
    if any(item.type != "text" for item in items):
        return [write_part(item) for item in items]
    if result is None or items:
        return wire_text("".join(item.text or "" for item in items))
    return wire_text(result) if isinstance(result, str) else wire_json(result)


def _holds_contents(result: object) -> bool:
    return any(isinstance(row, Content) or is_binary(row) for row in each_of(result))


# Anthropic's client gives these results as Python literals; the raw representation has the service's own values.
# Can go when it gives them as contents (no issue of it is known upstream).
_SERVICE_RESULTS: Final = ("web_search_tool_result", "web_fetch_tool_result")


def _without_ciphertext(result: object) -> Json:
    """The service's values, without encrypted ones, which are useless in a result that is sent back as text."""
    plain: Json = json.loads(wire_json(result))
    for row in plain if is_array(plain) else [plain]:
        if is_object(row):
            row.pop("encrypted_content", None)
    return plain


def _write_result(part: Part) -> MutableItem:
    content = part.content
    item_type = get_namespaced_value(content.additional_properties, "openai", "item_type")
    item: MutableItem = {"call_id": content.call_id or "", "output": write_output(content)}
    if item_type == "custom_tool_call_output":
        return {"type": "custom_tool_call_output", **item}
    return {"type": "function_call_output", **item, "status": "completed"}


open_result = whole("fco", _write_result)
"""Opens the item of a result."""
