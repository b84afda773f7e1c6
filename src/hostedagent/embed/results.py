"""Converts the result of a run to a response: whole, or as server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hostedagent.agents.result import Ending
from hostedagent.agents.usage import UsageCount
from hostedagent.failures import failure
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Completed, Failed, Incomplete
from hostedagent.protocol.content import COMPLETED, INCOMPLETE, Output
from hostedagent.protocol.content.codec import recall
from hostedagent.protocol.envelope import complete, public_item
from hostedagent.protocol.sse import event_data, write_frame
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import CountUsage, Emission, EndTurn, Event, Json

if TYPE_CHECKING:
    from agent_framework import AgentResponse, AgentResponseUpdate

logger = logging.getLogger(__name__)

Outcome = Completed | Incomplete | Failed


class _Answer:
    """Builds one response from the updates of a run."""

    def __init__(self, response_id: str, conversation_id: str | None) -> None:
        fields: dict[str, Json] = {"parallel_tool_calls": True}
        if conversation_id is not None:
            fields["conversation"] = {"id": conversation_id}
        self.builder = ResponseBuilder(response_id, fields)
        self._projection = Projection(Output(self.builder))
        self._usage = UsageCount()
        self._ending = Ending()
        self._outcome: Outcome | None = None

    def add(self, update: AgentResponseUpdate) -> Iterator[Event]:
        """The events of an update; none after the run has failed."""
        if self._outcome is None:
            self._ending.see(update)
            yield from self._events(self._projection.update(update))

    def end(self, error: Exception | None = None) -> Iterator[Event]:
        """Close the open items; the last event is the terminal one."""
        if error is not None:
            outcome: Any = failure(error)
        else:
            outcome = self._outcome or self._ending.outcome()
        yield from self._events(self._projection.close(COMPLETED if isinstance(outcome, Completed) else INCOMPLETE))
        if self._ending.model is not None:
            self.builder.response["model"] = self._ending.model
        usage = self._usage.wire()
        match outcome:
            case Incomplete(reason):
                yield self.builder.incomplete(reason, usage)
            case Failed():
                yield self.builder.failed(outcome, usage)
            case _:
                yield self.builder.completed(usage)

    def _events(self, emissions: Iterable[Emission]) -> Iterator[Event]:
        for emission in emissions:
            match emission:
                case CountUsage():
                    self._usage.count(emission)
                case EndTurn():
                    self._outcome = emission.outcome
                    return
                case dict():
                    yield emission
                case _:
                    pass  # The application keeps approvals itself, in the agent's session.


def responses_from_run(
    result: AgentResponse, *, response_id: str, conversation_id: str | None = None
) -> dict[str, Any]:
    """The response object for the result of a run.

    Args:
        result: The result of `agent.run(...)`.
        response_id: The id of the response; see `create_response_id`.
        conversation_id: The conversation that it belongs to.
    """
    answer = _Answer(response_id, conversation_id)
    answer.builder.created()
    for update in result.to_updates():
        for _ in answer.add(update):
            pass
    *_, terminal = answer.end()
    return complete(_public(terminal["response"]))


async def responses_from_streaming_run(
    stream: AsyncIterable[AgentResponseUpdate], *, response_id: str, conversation_id: str | None = None
) -> AsyncIterator[str]:
    """The server-sent events for a streaming run, as text.

    Exceptions: an error of the run ends the response as `failed`, without the error's text, which is logged.
    Cancellation: closing the iterator closes the stream of the run.

    Args:
        stream: The result of `agent.run(..., stream=True)`. It is iterated to its end, once, so that the agent saves
            its history.
        response_id: The id of the response; see `create_response_id`.
        conversation_id: The conversation that it belongs to.
    """
    answer = _Answer(response_id, conversation_id)
    number = 0
    async for event in _events(stream, answer):
        name = event["type"]
        if "response" in event:
            event = {**event, "response": complete(_public(event["response"]))}
        elif "item" in event:
            event = {**event, "item": _public_item(event["item"])}
        yield write_frame(name, event_data({**event, "sequence_number": number})).decode()
        number += 1


async def _events(stream: AsyncIterable[AgentResponseUpdate], answer: _Answer) -> AsyncGenerator[Event]:
    yield answer.builder.created()
    yield answer.builder.in_progress()
    error: Exception | None = None
    try:
        async for update in stream:
            for event in answer.add(update):
                yield event
    except Exception as raised:  # noqa: BLE001 - becomes the outcome
        log_failure(logger, f"The run of {answer.builder.id} failed", raised)
        error = raised
    for event in answer.end(error):
        yield event


def _public(response: Mapping[str, Json]) -> dict[str, Json]:
    return {**response, "output": [_public_item(item) for item in response["output"] if item is not None]}


def _public_item(item: Mapping[str, Json]) -> dict[str, Json]:
    """The item without the fields that only a host's own store keeps.

    An approval request has Agent Framework's id, by which the agent's session knows it.
    """
    known = {"id": found} if (found := recall(item).get("request_id")) else {}
    return {**public_item(item), **known}
