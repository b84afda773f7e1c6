"""From the events of a turn to those of AG-UI.

An item is a message, a span of reasoning or a tool call, under its own id. What the agent asks, an approval or a
question of a workflow, is an interrupt of the run's end; calls of the front end's tools are left pending.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from ag_ui.core import (
    PROTOCOL_VERSION,
    BaseEvent,
    CustomEvent,
    Interrupt,
    ReasoningEncryptedValueEvent,
    ReasoningEndEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    StateSnapshotEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from hostedagent.errors import FAILURE_MESSAGES
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import is_object


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a message, a thought or of arguments: an event whose only changing field is `delta`.

    Args:
        kind: The protocol's type of the event.
        key: The name of the field that says what it is a piece of.
        id: The value of that field.
        text: The piece.
    """

    kind: type[BaseEvent]
    key: str
    id: str
    text: str


Events: TypeAlias = Iterator[BaseEvent | Delta]

_APPROVAL: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}},
    "required": ["approved"],
}


@dataclass(slots=True)
class RunEvents:
    """The events of one run.

    Args:
        thread_id: The thread.
        run_id: The run.
        tools: The names of the front end's tools.
        state: What the front end shares with the agent, which may change it.
    """

    thread_id: str
    run_id: str
    tools: Collection[str] = ()
    state: dict[str, Json] | None = None
    _sent: dict[str, Json] | None = None
    _has_parts: set[str] = field(default_factory=set[str])
    _ended: set[str] = field(default_factory=set[str])
    _calls: dict[str, Item] = field(default_factory=dict[str, Item])
    _call_ids: dict[str, str] = field(default_factory=dict[str, str])
    _interrupts: list[Interrupt] = field(default_factory=list[Interrupt])

    def __post_init__(self) -> None:
        self._sent = deepcopy(self.state)

    def take(self, event: Event) -> Events:
        """The events that stand for one of the turn."""
        handler = _HANDLERS.get(event["type"])
        if handler is not None:
            yield from handler(self, event)

    def created(self, event: Event) -> Events:
        """The run has begun."""
        yield RunStartedEvent(thread_id=self.thread_id, run_id=self.run_id, protocol_version=PROTOCOL_VERSION)

    def added(self, event: Event) -> Events:
        """An item begins."""
        item = cast("Item", event["item"])
        item_id, kind = str(item.get("id")), item["type"]
        if kind == "message":
            yield TextMessageStartEvent(message_id=item_id, role="assistant")
        elif kind == "reasoning":
            yield ReasoningStartEvent(message_id=item_id)
            yield ReasoningMessageStartEvent(message_id=item_id)
        elif kind == "function_call":
            self._call_ids[item_id] = item["call_id"]
            yield ToolCallStartEvent(tool_call_id=item["call_id"], tool_call_name=item["name"])
        elif kind == "mcp_call":
            yield ToolCallStartEvent(tool_call_id=item_id, tool_call_name=item["name"])

    def text(self, event: Event) -> Events:
        """A piece of a message."""
        self._has_parts.add(event["item_id"])
        if event["delta"]:
            yield Delta(TextMessageContentEvent, "message_id", event["item_id"], event["delta"])

    def thought(self, event: Event) -> Events:
        """A piece of the reasoning."""
        self._has_parts.add(event["item_id"])
        if event["delta"]:
            yield Delta(ReasoningMessageContentEvent, "message_id", event["item_id"], event["delta"])

    def argued(self, event: Event) -> Events:
        """A piece of the arguments of a call."""
        item_id = str(event["item_id"])
        self._has_parts.add(item_id)
        yield Delta(ToolCallArgsEvent, "tool_call_id", self._call_ids.get(item_id, item_id), event["delta"])

    def called(self, event: Event) -> Events:
        """The arguments of a call of the agent's own are complete, and the tool runs."""
        item_id = event["item_id"]
        if item_id not in self._ended:
            self._ended.add(item_id)
            yield ToolCallEndEvent(tool_call_id=item_id)

    def done(self, event: Event) -> Events:
        """An item is complete."""
        item = cast("Item", event["item"])
        yield from _DONE.get(item["type"], RunEvents.other)(self, item)
        yield from self._changed()

    def message(self, item: Item) -> Events:
        """A message is complete."""
        text = "".join(part.get("text") or part.get("refusal") or "" for part in item.get("content") or ())
        if text and item["id"] not in self._has_parts:
            yield TextMessageContentEvent(message_id=item["id"], delta=text)
        yield TextMessageEndEvent(message_id=item["id"])

    def reasoning(self, item: Item) -> Events:
        """A span of reasoning is complete."""
        yield ReasoningMessageEndEvent(message_id=item["id"])
        if sealed := item.get("encrypted_content"):
            yield ReasoningEncryptedValueEvent(subtype="message", entity_id=item["id"], encrypted_value=sealed)
        yield ReasoningEndEvent(message_id=item["id"])

    def call(self, item: Item) -> Events:
        """A call is complete that the front end's tools or a person answer."""
        yield from self._arguments(item, item["call_id"])
        yield ToolCallEndEvent(tool_call_id=item["call_id"])
        self._calls[item["call_id"]] = item

    def output(self, item: Item) -> Events:
        """A call has its result."""
        self._calls.pop(item["call_id"], None)
        yield ToolCallResultEvent(message_id=item["id"], tool_call_id=item["call_id"], content=_text(item["output"]))

    def own_call(self, item: Item) -> Events:
        """A call of the agent's own has its result."""
        yield from self._arguments(item, item["id"])
        if item["id"] not in self._ended:
            yield ToolCallEndEvent(tool_call_id=item["id"])
        result = item.get("output") or item.get("error")
        if result is not None:
            yield ToolCallResultEvent(message_id=f"{item['id']}_result", tool_call_id=item["id"], content=_text(result))

    def approval(self, item: Item) -> Events:
        """The agent asks whether a tool may run."""
        self._interrupts.append(
            Interrupt(
                id=item["id"],
                reason="tool_call",
                message=f"Allow {item['name']}?",
                response_schema=_APPROVAL,
                metadata={"name": item["name"], "arguments": item.get("arguments")},
            )
        )
        yield from ()

    def other(self, item: Item) -> Events:
        """An item that AG-UI has no events for."""
        yield CustomEvent(name=item["type"], value=item)

    def ended(self, event: Event) -> Events:
        """The turn has ended."""
        response = cast("Mapping[str, Json]", event["response"])
        yield from self._changed()
        usage = _usage(response)
        if response["status"] == "failed":
            error = cast("Mapping[str, str]", response.get("error") or {})
            message = error.get("message") or FAILURE_MESSAGES["server_error"]
            yield RunErrorEvent(message=message, code=error.get("code"), usage=usage)
            return
        details = response.get("incomplete_details")
        yield RunFinishedEvent(
            thread_id=self.thread_id, run_id=self.run_id, result=details, outcome=self._outcome(response), usage=usage
        )

    def _outcome(
        self, response: Mapping[str, Json]
    ) -> RunFinishedCancelledOutcome | RunFinishedInterruptOutcome | RunFinishedSuccessOutcome:
        if response["status"] == "cancelled":
            return RunFinishedCancelledOutcome()
        pending = {call_id: item for call_id, item in self._calls.items() if item["name"] in self.tools}
        questions = [_question(item) for call_id, item in self._calls.items() if call_id not in pending]
        if asked := [*self._interrupts, *questions]:
            return RunFinishedInterruptOutcome(interrupts=asked)
        return RunFinishedSuccessOutcome(pending_tool_call_ids=list(pending) or None)

    def _arguments(self, item: Item, call_id: str) -> Events:
        if item["id"] not in self._has_parts and item.get("arguments"):
            yield ToolCallArgsEvent(tool_call_id=call_id, delta=item["arguments"])

    def _changed(self) -> Events:
        if self.state is not None and self.state != self._sent:
            self._sent = deepcopy(self.state)
            yield StateSnapshotEvent(snapshot=self._sent)


def _question(item: Item) -> Interrupt:
    """A question of a workflow, or a call of a tool that the front end does not have."""
    try:
        asked: Json = decode(str(item.get("arguments") or "{}").encode())
    except ValueError:
        asked = None
    fields = asked if is_object(asked) else dict[str, Json]()
    request, schema = fields.get("request"), fields.get("response_schema")
    return Interrupt(
        id=item["call_id"],
        reason="input_required",
        message=request if isinstance(request, str) else item["name"],
        tool_call_id=item["call_id"],
        response_schema=dict(schema) if is_object(schema) else None,
    )


def _text(output: Json) -> str:
    return output if isinstance(output, str) else encode(output).decode()


def _usage(response: Mapping[str, Json]) -> list[TokenUsage] | None:
    if (usage := response.get("usage")) is None:
        return None
    counts = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return [TokenUsage(model=response.get("model") or None, **counts)]


_HANDLERS: Final[Mapping[str, Callable[[RunEvents, Event], Events]]] = {
    "response.created": RunEvents.created,
    "response.output_item.added": RunEvents.added,
    "response.output_text.delta": RunEvents.text,
    "response.refusal.delta": RunEvents.text,
    "response.reasoning_text.delta": RunEvents.thought,
    "response.reasoning_summary_text.delta": RunEvents.thought,
    "response.function_call_arguments.delta": RunEvents.argued,
    "response.mcp_call_arguments.delta": RunEvents.argued,
    "response.mcp_call_arguments.done": RunEvents.called,
    "response.output_item.done": RunEvents.done,
    "response.completed": RunEvents.ended,
    "response.incomplete": RunEvents.ended,
    "response.failed": RunEvents.ended,
}
"""Event to the events that stand for it. Every other event has none."""

_DONE: Final[Mapping[str, Callable[[RunEvents, Item], Events]]] = {
    "message": RunEvents.message,
    "reasoning": RunEvents.reasoning,
    "function_call": RunEvents.call,
    "function_call_output": RunEvents.output,
    "mcp_call": RunEvents.own_call,
    "mcp_approval_request": RunEvents.approval,
}
"""Item to the events of its end. Every other item is a custom event."""
