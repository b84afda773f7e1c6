"""The turn driver: one turn from `created` to its one terminal event, with everything that happens in between.

It asks the history what to feed the agent, runs it, projects its updates, performs the effects, saves, and tells the
outcome. It is the only place that chooses a terminal event. An error never escapes it after `created`: the SDK would
throw the output away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never, cast

from agent_framework import UsageDetails, add_usage_details
from azure.ai.agentserver.responses import ResponseEventStream

from hostedagent.content import COMPLETED, INCOMPLETE, Output
from hostedagent.errors import RequestError, failed, failure
from hostedagent.history.policy import Feed, HistoryPolicy
from hostedagent.projection import Projection
from hostedagent.request.turn import TurnRequest, set_current_turn
from hostedagent.run.agent import approval_tools, check_tool_names, model_name, start_run
from hostedagent.run.ending import Ending, reports_failure
from hostedagent.run.pump import Pump, Stopped
from hostedagent.source import AgentSource
from hostedagent.stores.responses import ResponseStore
from hostedagent.telemetry import log_failure
from hostedagent.types import (
    Cancelled,
    Completed,
    CountUsage,
    Effect,
    Emission,
    EndTurn,
    Event,
    Failed,
    Incomplete,
    Json,
    Outcome,
    SaveApproval,
    StopCause,
)

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, SupportsAgentRun
    from azure.ai.agentserver.responses import ResponseContext

logger = logging.getLogger(__name__)

YIELD_EVERY: Final = 16
"""Events after which the loop gets a turn: an agent that never waits must not starve the other requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every turn of a host works with."""

    source: AgentSource
    history: HistoryPolicy
    store: ResponseStore
    run_timeout: float | None = None
    consent_origins: frozenset[str] | None = None


class _EndedEarly(Exception):
    """A part said that the run cannot go on."""

    def __init__(self, outcome: Incomplete | Failed) -> None:
        super().__init__(outcome)
        self.outcome: Incomplete | Failed = outcome


class Turn:
    """One turn of one request.

    Cancellation: when the generator is closed or cancelled, the run is stopped before that goes on.
    """

    def __init__(
        self, stage: Stage, request: TurnRequest, context: ResponseContext, cancellation_signal: asyncio.Event
    ) -> None:
        self._stage = stage
        self._request = request
        self._context = context
        self._signal = cancellation_signal
        self._stream = ResponseEventStream(response_id=request.response_id, request=context.request)
        self._output = Output(self._stream, request.response_id, consent_origins=stage.consent_origins)
        self._projection = Projection(self._output)
        self._ending = Ending()
        self._usage: UsageDetails | None = None
        self._emitted = 0

    async def drive(self) -> AsyncGenerator[Event]:
        """The events of the turn. `created` leaves before anything is read or run."""
        self._fill_response()
        yield cast("Event", self._stream.emit_created())
        yield cast("Event", self._stream.emit_in_progress())
        feed: Feed | None = None
        async with AsyncExitStack() as resources:
            try:
                set_current_turn(self._request)
                agent = await resources.enter_async_context(self._stage.source.open(self._request))
                self._meet(agent)
                feed = await self._stage.history.before(self._request, self._context, agent)
                async for event in self._run(agent, feed, resources):
                    yield event
                outcome = self._ending.outcome()
            except Exception as error:  # noqa: BLE001 - the one place where a run's errors become outcomes
                outcome = self._outcome_of(error)
            for event in self._closing(outcome):
                yield event
        outcome = await self._commit(feed, outcome)
        if (terminal := self._terminal(outcome)) is not None:
            self._stage.store.ending(self._request.response_id)
            yield terminal

    def _fill_response(self) -> None:
        response = self._stream.response
        response["parallel_tool_calls"] = True  # The protocol's default; the SDK's stream starts with false.
        response.update(self._request.options.echo)
        instance = self._stage.source.instance
        if instance is not None and (model := model_name(instance)) is not None:
            response["model"] = model

    def _meet(self, agent: SupportsAgentRun) -> None:
        check_tool_names(agent, self._request)
        self._output.held_calls = approval_tools(agent)
        self._ending.model = None
        if (model := model_name(agent)) is not None:
            self._stream.response["model"] = model

    async def _run(self, agent: SupportsAgentRun, feed: Feed, resources: AsyncExitStack) -> AsyncGenerator[Event]:
        def start() -> AsyncIterable[AgentResponseUpdate] | Awaitable[AsyncIterable[AgentResponseUpdate]]:
            return start_run(
                agent,
                feed.messages,
                self._request,
                session=feed.session,
                keeps_history=self._stage.history.keeps_history,
            )

        pump = Pump(start, ends_at=reports_failure)
        resources.push_async_callback(pump.stop)
        watchers = _watch(pump, self._signal, self._context)
        resources.callback(_cancel, watchers)
        while (batch := await pump.batch(self._stage.run_timeout)) is not None:
            for update in batch:
                self._ending.see(update)
                for emission in self._projection.update(update):
                    if isinstance(emission, dict):
                        yield emission
                        await self._breathe()
                    else:
                        await self._perform(emission)

    async def _breathe(self) -> None:
        self._emitted += 1
        if self._emitted % YIELD_EVERY == 3:  # The third event is the first delta of a plain answer.
            await asyncio.sleep(0)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case CountUsage():
                replaces = effect.replaces or self._usage is None
                self._usage = effect.usage if replaces else add_usage_details(self._usage, effect.usage)
            case SaveApproval():
                pass
            case EndTurn():
                raise _EndedEarly(effect.outcome)
            case _:
                assert_never(effect)

    def _outcome_of(self, error: Exception) -> Outcome:
        """What a turn that raised comes to. Only a `RequestError` has words for the caller."""
        match error:
            case Stopped():
                return Cancelled(error.cause)
            case _EndedEarly():
                return error.outcome
            case RequestError():
                return Failed("invalid_prompt", error.message)
            case _:
                log_failure(logger, f"The run of {self._request.response_id} failed", error)
                return failure(error)

    def _closing(self, outcome: Outcome) -> Iterator[Event]:
        """End what is open. Nothing that closing raises may hide the outcome."""
        end = COMPLETED if isinstance(outcome, Completed) else INCOMPLETE
        yield from _events(self._projection.close(end))

    async def _commit(self, feed: Feed | None, outcome: Outcome) -> Outcome:
        """Let the history save, before anybody is told; a turn whose save failed has failed."""
        if feed is None:
            return outcome
        try:
            await asyncio.shield(self._stage.history.after(self._request, feed, outcome))
        except Exception as error:  # noqa: BLE001 - becomes the outcome
            log_failure(logger, f"Saving the turn {self._request.response_id} failed", error)
            return failed("server_error") if isinstance(outcome, Completed | Incomplete) else outcome
        return outcome

    def _terminal(self, outcome: Outcome) -> Event | None:
        """The one terminal event; none after a stop, which the SDK tells."""
        stream, usage = self._stream, _wire_usage(self._usage)
        if (model := self._ending.model) is not None:
            stream.response["model"] = model
        match outcome:
            case Completed():
                event = stream.emit_completed(usage=usage)
            case Incomplete(reason):
                event = stream.emit_incomplete(reason=reason, usage=usage)
            case Failed(code, message):
                event = stream.emit_failed(code=code, message=message, usage=usage)
            case Cancelled():
                return None
            case _:
                assert_never(outcome)
        return cast("Event", event)


def _events(emissions: Iterable[Emission]) -> Iterator[Event]:
    return (emission for emission in emissions if isinstance(emission, dict))


def _watch(
    pump: Pump[AgentResponseUpdate], signal: asyncio.Event, context: ResponseContext
) -> tuple[asyncio.Task[None], ...]:
    """Stop the run when the caller goes, a newer input comes, or the process ends."""

    def cause() -> StopCause:
        if context.shutdown.is_set():
            return "shutdown"
        return "client" if context.client_cancelled else "steered"

    async def watch(event: asyncio.Event) -> None:
        await event.wait()
        pump.interrupt(cause())

    return (
        asyncio.create_task(watch(signal), name="hostedagent-cancel"),
        asyncio.create_task(watch(context.shutdown), name="hostedagent-shutdown"),
    )


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _wire_usage(usage: UsageDetails | None) -> Json:
    if usage is None:
        return None
    read, written = usage.get("input_token_count") or 0, usage.get("output_token_count") or 0
    for name in ("anthropic.cache_read_input_tokens", "anthropic.cache_creation_input_tokens"):
        read += usage.get(name) or 0  # Anthropic counts them apart; here they are part of the input.
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": usage.get("cache_read_input_token_count") or 0,
            "cache_write_tokens": usage.get("cache_creation_input_token_count") or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.get("reasoning_output_token_count") or 0},
        "total_tokens": max(usage.get("total_token_count") or 0, read + written),
    }
