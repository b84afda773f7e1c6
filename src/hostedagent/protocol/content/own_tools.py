"""The calls of the agent's own tools: one `mcp_call` with its result, or nothing at all (`HostOptions.own_tools`).

In the protocol, a `function_call` is work for the client. A tool that the agent runs itself is therefore shown as a
tool of the server `agent`; a hidden call is stored with the next item, where only the host sees it. A call streams if
the agent is known to run its tool. Otherwise it is held back: a result makes it the agent's, the marker of a
client-side tool or the end of the run makes it the caller's, and an approval request replaces it. See `own_calls.py`
for the inverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_framework import Content, get_namespaced_value

from hostedagent.protocol.content.codec import Batch, End, OpenItem, Output, Part
from hostedagent.protocol.content.function_call import (
    Arguments,
    OpenCall,
    call_key,
    call_kind,
    is_same_call,
    open_result,
    write_output,
)
from hostedagent.protocol.content.own_calls import ERROR_TYPE, LOCAL_SERVER
from hostedagent.protocol.json import is_whole
from hostedagent.protocol.types import Emission, Event, Json, MutableItem
from hostedagent.protocol.values import fields_of
from hostedagent.protocol.wire import wire_json

UNKNOWN_TOOL: Final = "tool"
"""The name of a call of which only the result is known."""

_DELTA: Final = "response.mcp_call_arguments.delta"
_DONE: Final = "response.mcp_call_arguments.done"


class OpenOwnCall(OpenItem):
    """A call that the agent probably runs: it stays open until its result arrives."""

    outlasts = frozenset({"function_call", "text", "text_reasoning"})

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._call_id = part.content.call_id or part.content.id or ""
        self._name = part.content.name or ""
        self._arguments = Arguments()
        self._has_all_arguments = False
        self._batch = output.join_batch(part.author)
        self._place = self._batch.size - 1
        output.own_calls.append(self)

    @property
    def _is_known(self) -> bool:
        """Whether the agent runs the tool without approval."""
        return self._name in self.output.tools.own and self._name not in self.output.tools.asking

    def ends_before(self, part: Part) -> bool:
        """Only its result or an approval request for it ends the call; other parts may arrive in between."""
        content = part.content
        if content.type == "function_approval_request":
            return content.function_call is not None and _open_call_of(content.function_call, part, self.output) is self
        if content.type != "function_result" or self.output.answered is content:
            return False
        return _open_call_of(content, part, self.output) is self

    def ends_at_finish(self, message_id: str | None) -> bool:
        """The model call finishes before the tool runs."""
        return False

    def finish_model_call(self, message_id: str | None, end: End) -> Iterator[Emission]:
        """The arguments are complete when the model call has finished."""
        if self.item is not None and end.status == "completed" and super().ends_at_finish(message_id):
            yield from self._end_arguments()

    def append(self, part: Part) -> Iterator[Emission]:
        """Take a fragment, a snapshot, or the repeat that marks a call as the caller's to run."""
        content = part.content
        self._name = self._name or content.name or ""
        is_callers = bool(content.user_input_request)
        text = self._arguments.take(content, is_snapshot=part.replaces or is_callers)
        if is_callers and self.item is None:
            yield from self._give_to_caller(End())
        elif self._is_known and self.output.own_tools == "mcp_call":
            if self.item is None:
                yield from self._begin()
            elif text:
                yield self.opened.event(_DELTA, delta=text)
            if part.replaces:
                yield from self._end_arguments()

    def show(self) -> Iterator[Event]:
        """Show a call that was held back, unless own calls are hidden."""
        if self.output.own_tools == "mcp_call":
            yield from self._begin()

    def _begin(self) -> Iterator[Event]:
        if self.item is not None:
            return
        self.item = self.output.item("mcp", self.first, self._batch)
        self.item.remember(own=True, call_id=self._call_id)
        yield self.item.added(self._wire("", "in_progress"))
        yield self.opened.event("response.mcp_call.in_progress")
        if self._arguments:
            yield self.opened.event(_DELTA, delta=self._arguments.text)

    def _end_arguments(self) -> Iterator[Event]:
        if not self._has_all_arguments:
            self._has_all_arguments = True
            if rest := self._arguments.rest():
                yield self.opened.event(_DELTA, delta=rest)
            yield self.opened.event(_DONE, arguments=self._arguments.text)

    def answer(self, result: Content) -> Iterator[Emission]:
        """End the call with its result."""
        written = write_output(result)  # First, because a result that cannot be written leaves the call open.
        output = written if isinstance(written, str) else wire_json(written)
        self._forget()
        self.output.end_batch(self.first.author, self._batch)
        self.output.answered = result
        if self.output.own_tools == "hidden":
            self._arguments.rest()
            item_id, memory = self.output.new_id("mcp", self._batch), {"call_id": self._call_id, "place": self._place}
            self.output.response.hide(item_id, self.first.author, self._item(result, output), own=True, **memory)
            return
        yield from self._begin()
        yield from self._end_arguments()
        item = self._item(result, output)
        yield self.opened.event(f"response.mcp_call.{item['status']}")
        yield self.opened.done(item)

    def close(self, end: End) -> Iterator[Emission]:
        """End the call: with its result, as an approval request, as the caller's, or unanswered."""
        if self.is_closed:
            return
        before = end.before.content if end.before is not None else None
        if before is not None and before.type == "function_result":
            yield from self.answer(before)
            return
        self._forget()
        is_deferred = (call_key(self.first.content) or "") in self.output.deferred_calls
        if self.item is None and (before is not None or is_deferred):
            return  # An approval request replaces the call, or a later turn sends one.
        if self.item is None and not self._is_known and end.status == "completed":
            yield from self._give_to_caller(end)
        elif self.output.own_tools == "mcp_call":
            yield from self._begin()
            if end.status == "completed":
                yield from self._end_arguments()
            elif not self._has_all_arguments:
                yield self.opened.event(_DONE, arguments=self._arguments.text)
            yield self.opened.done(self._wire(self._arguments.text, "incomplete"))

    def _forget(self) -> None:
        self.is_closed = True
        if self in self.output.own_calls:
            self.output.own_calls.remove(self)

    def _give_to_caller(self, end: End) -> Iterator[Emission]:
        """Show the call as one that the caller runs."""
        self._forget()
        self._arguments.rest()
        call = Content.from_function_call(self._call_id, self._name, arguments=self._arguments.text)
        part = self.first._replace(content=call, replaces=False)
        item = _callers_call(part, self.output, self._batch)
        yield from item.append(part)
        yield from item.close(end)

    def _item(self, result: Content, output: str) -> MutableItem:
        """The item with its result. The text of a tool's exception goes to the log, not to the caller."""
        if result.exception is None and is_whole(self._arguments.text):
            return {**self._wire(self._arguments.text, "completed"), "output": output}
        error = {"type": ERROR_TYPE, "content": [{"type": "text", "text": output}]}
        return {**self._wire(self._arguments.text, "failed"), "error": error}

    def _wire(self, arguments: str, status: str) -> MutableItem:
        return {
            "type": "mcp_call",
            "server_label": LOCAL_SERVER,
            "name": self._name,
            "arguments": arguments,
            "output": None,
            "error": None,
            "approval_request_id": _approval_id(self.first.content),
            "status": status,
        }


class _Answer(OpenItem):
    """A result: of an open call, of a call from an earlier turn, or already taken with its call."""

    def append(self, part: Part) -> Iterator[Emission]:
        """Pass the result to its call."""
        self.is_closed = True
        result, output = part.content, self.output
        if output.answered is result:
            return
        call = _open_call_of(result, part, output)
        if call is None:
            made = output.earlier_call(result.call_id or "") or Content.from_function_call(
                result.call_id or "", UNKNOWN_TOOL
            )
            opening = part._replace(content=made)
            call = OpenOwnCall(opening, output)
            yield from call.append(opening)
        yield from call.answer(result)


def open_call(part: Part, output: Output) -> OpenItem:
    """Open a call, depending on who runs it and on `HostOptions.own_tools`."""
    content = part.content
    if output.own_tools == "function_call" or call_kind(content) != "function_call":
        return OpenCall(part, output)
    if content.user_input_request or (content.name or "") in output.tools.caller:
        return _callers_call(part, output, output.join_batch(part.author))
    return OpenOwnCall(part, output)


def open_tool_result(part: Part, output: Output) -> OpenItem:
    """Open a result: an item of its own, or the end of the agent's own call."""
    content = part.content
    item_type = get_namespaced_value(content.additional_properties, "openai", "item_type")
    is_callers = content.call_id in output.caller_calls or item_type == "custom_tool_call_output"
    if output.own_tools == "function_call" or is_callers:
        return open_result(part, output)
    return _Answer(part, output)


def _open_call_of(content: Content, part: Part, output: Output) -> OpenOwnCall | None:
    """The open call that a content belongs to; concurrent agents may use the same call id."""
    found = [call for call in output.own_calls if is_same_call(call.first.content, content)]
    return max(
        found,
        key=lambda call: (call_key(call.first.content) == call_key(content), call.first.author == part.author),
        default=None,
    )


def _callers_call(part: Part, output: Output, batch: Batch) -> OpenCall:
    output.caller_calls.add(part.content.call_id or "")
    return OpenCall(part, output, may_wait=False, batch=batch)


def _approval_id(content: Content) -> Json:
    """The id of the approved request, if the call needed approval."""
    return fields_of(content.additional_properties.get("hostedagent")).get("approval_request_id")
