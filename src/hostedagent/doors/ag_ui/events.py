"""Converts the events of a turn to those of AG-UI.

An item is a message, a span of reasoning or a tool call, with its own id. A request of the agent, for approval or from
a workflow, is an interrupt at the end of the run; calls of the front end's tools stay pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import ag_ui.core as ag
from ag_ui.encoder import EventEncoder
from msgspec import Struct, field

from hostedagent.doors.pieces import Pieces
from hostedagent.doors.questions import YES, as_text, asked_of, failure_of, open_questions
from hostedagent.doors.shared_state import SharedState
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import fields_of

Events: TypeAlias = Iterator[ag.BaseEvent | bytes]
"""Events, and frames of pieces."""
Piece: TypeAlias = tuple[type[ag.BaseEvent], str]  # And the field that says what it is a piece of.

_ENCODER: Final = EventEncoder()


class RunEvents(Struct):
    """The events of one run.

    Args:
        state: State that the front end shares with the agent, which may change it.
        messages: The messages of the front end before a run that it reads again.
    """

    run: ag.RunAgentInput
    state: SharedState = field(default_factory=SharedState)
    messages: list[ag.Message] | None = None
    _calls: dict[str, str] = field(default_factory=dict[str, str])
    _pieces: Pieces = field(default_factory=Pieces)

    def frames(self, event: Event) -> Iterator[bytes]:
        """The frames for an event of the turn."""
        kind = event["type"]
        if kind in _PIECES and event["delta"]:
            yield self._piece(_PIECES[kind], event["item_id"], event["delta"])
        elif kind in _HANDLERS:
            for one in _HANDLERS[kind](self, event):
                yield one if isinstance(one, bytes) else _frame(one)

    def created(self, event: Event) -> Events:
        """Start the run."""
        run = self.run
        yield ag.RunStartedEvent(thread_id=run.thread_id, run_id=run.run_id, protocol_version=ag.PROTOCOL_VERSION)
        if self.messages is not None:
            yield ag.MessagesSnapshotEvent(messages=self.messages)

    def added(self, event: Event) -> Events:
        """Start an item."""
        item: Item = event["item"]
        match item["type"]:
            case "message":
                yield ag.TextMessageStartEvent(message_id=item["id"], role="assistant")
            case "reasoning":
                yield ag.ReasoningStartEvent(message_id=item["id"])
                yield ag.ReasoningMessageStartEvent(message_id=item["id"])
            case "function_call" | "mcp_call":
                self._calls[item["id"]] = call_id = item["call_id"] if item["type"] == "function_call" else item["id"]
                yield ag.ToolCallStartEvent(tool_call_id=call_id, tool_call_name=item["name"])
            case _:
                pass

    def called(self, event: Event) -> Events:
        """End the arguments of a call; a tool of the agent runs now."""
        item_id = event["item_id"]
        if item_id in self._calls:
            yield from self._whole(_ARGUMENTS, item_id, event["arguments"])
            yield ag.ToolCallEndEvent(tool_call_id=self._calls.pop(item_id))

    def done(self, event: Event) -> Events:
        """End an item."""
        item: Item = event["item"]
        item_id, kind = item["id"], item["type"]
        match kind:
            case "message":
                text = "".join(part.get("text") or part.get("refusal") or "" for part in item.get("content") or ())
                yield from self._whole(_TEXT, item_id, text)
                yield ag.TextMessageEndEvent(message_id=item_id)
            case "reasoning":
                yield ag.ReasoningMessageEndEvent(message_id=item_id)
                if sealed := item.get("encrypted_content"):
                    yield ag.ReasoningEncryptedValueEvent(subtype="message", entity_id=item_id, encrypted_value=sealed)
                yield ag.ReasoningEndEvent(message_id=item_id)
            case "function_call" | "mcp_call":
                yield from self.called({"item_id": item_id, "arguments": item.get("arguments") or ""})
                if (result := item.get("output") or item.get("error")) is not None:
                    yield _result(f"{item_id}_result", item_id, result)
            case "function_call_output":
                yield _result(item_id, item["call_id"], item["output"])
            case "mcp_approval_request":
                pass  # Sent at the end.
            case _:
                yield ag.CustomEvent(name=kind, value=item)
        yield from self._changed()

    def ended(self, event: Event) -> Events:
        """End the run."""
        response: Mapping[str, Json] = event["response"]
        yield from self._changed()
        usage = _usage(response)
        if (failed := failure_of(response)) is not None:
            yield ag.RunErrorEvent(message=failed.message, code=failed.code, usage=usage)
            return
        yield ag.RunFinishedEvent(
            thread_id=self.run.thread_id,
            run_id=self.run.run_id,
            result=response.get("incomplete_details"),
            outcome=self._outcome(response),
            usage=usage,
        )

    def _outcome(self, response: Mapping[str, Json]) -> ag.RunFinishedOutcome:
        if response["status"] == "cancelled":
            return ag.RunFinishedCancelledOutcome()
        tools = {tool.name for tool in self.run.tools or ()}
        asked = list(open_questions(response["output"]))
        pending = [item["call_id"] for item in asked if item["type"] == "function_call" and item["name"] in tools]
        if interrupts := [_interrupt(item) for item in asked if item.get("call_id") not in pending]:
            return ag.RunFinishedInterruptOutcome(interrupts=interrupts)
        return ag.RunFinishedSuccessOutcome(pending_tool_call_ids=pending or None)

    def _piece(self, piece: Piece, item_id: str, text: str) -> bytes:
        return self._pieces.frame(item_id, text, self._empty, piece, item_id)

    def _empty(self, piece: Piece, item_id: str) -> bytes:
        kind, key = piece
        return _frame(kind.model_validate({key: self._calls.get(item_id, item_id), "delta": ""}))

    def _whole(self, piece: Piece, item_id: str, text: str) -> Iterator[bytes]:
        """The whole text of an item without deltas."""
        if text and item_id not in self._pieces.kinds:
            yield self._piece(piece, item_id, text)

    def _changed(self) -> Events:
        if (state := self.state.change()) is not None:
            yield ag.StateSnapshotEvent(snapshot=state)


def _frame(event: ag.BaseEvent) -> bytes:
    return _ENCODER.encode(event).encode()


def _interrupt(item: Item) -> ag.Interrupt:
    """An approval request, a workflow's request, or a call of a tool that the front end does not have."""
    name = item["name"]
    if item["type"] == "mcp_approval_request":
        about = {"name": name, "arguments": item.get("arguments")}
        message = f"Allow {name}?"
        return ag.Interrupt(
            id=item["id"], reason="tool_call", message=message, response_schema=dict(YES), metadata=about
        )
    asked, call_id = asked_of(item), item["call_id"]
    request, schema = asked.get("request"), dict(fields_of(asked.get("response_schema"))) or None
    message = request if isinstance(request, str) else name
    return ag.Interrupt(
        id=call_id, reason="input_required", message=message, tool_call_id=call_id, response_schema=schema
    )


def _result(message_id: str, call_id: str, output: Json) -> ag.ToolCallResultEvent:
    return ag.ToolCallResultEvent(message_id=message_id, tool_call_id=call_id, content=as_text(output))


def _usage(response: Mapping[str, Json]) -> list[ag.TokenUsage] | None:
    if (usage := response.get("usage")) is None:
        return None
    counts = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return [ag.TokenUsage(model=response.get("model") or None, **counts)]


_TEXT: Final[Piece] = (ag.TextMessageContentEvent, "message_id")
_THOUGHT: Final[Piece] = (ag.ReasoningMessageContentEvent, "message_id")
_ARGUMENTS: Final[Piece] = (ag.ToolCallArgsEvent, "tool_call_id")
_PIECES: Final[Mapping[str, Piece]] = {
    "response.output_text.delta": _TEXT,
    "response.refusal.delta": _TEXT,
    "response.reasoning_text.delta": _THOUGHT,
    "response.reasoning_summary_text.delta": _THOUGHT,
    "response.function_call_arguments.delta": _ARGUMENTS,
    "response.mcp_call_arguments.delta": _ARGUMENTS,
}

_HANDLERS: Final[Mapping[str, Callable[[RunEvents, Event], Events]]] = {
    "response.created": RunEvents.created,
    "response.output_item.added": RunEvents.added,
    "response.mcp_call_arguments.done": RunEvents.called,
    "response.output_item.done": RunEvents.done,
    "response.completed": RunEvents.ended,
    "response.incomplete": RunEvents.ended,
    "response.failed": RunEvents.ended,
}
"""Event to the function that converts it; other events are dropped."""
