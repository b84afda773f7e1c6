"""One turn, from `created` to its one terminal event.

It runs the agent, passes its updates through the output, has the outcome saved, and reports it. After `created` no
error is raised: the driver would lose the output.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from hostedagent.agents.exits import STOPS
from hostedagent.agents.pump import Pump
from hostedagent.agents.standing_rules import deferred_questions
from hostedagent.conversation.approvals import ApprovalTracker
from hostedagent.engine.agent_run import AgentRun
from hostedagent.engine.cancellation import StopSignals
from hostedagent.engine.commit import TurnCommit
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.output import EndedEarly, TurnOutput
from hostedagent.engine.partial_output import PartialOutput
from hostedagent.engine.recovery import Questions, Recovery, open_response
from hostedagent.engine.settlement import Settlement, outcome_of
from hostedagent.engine.tracing import TurnSpan
from hostedagent.failures import failed
from hostedagent.identity import enter_context
from hostedagent.observability.logging import set_log_ids
from hostedagent.outcomes import Cancelled, Completed, Incomplete, StopCause
from hostedagent.protocol.types import Effect, Event, Json, SaveApproval

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


class Turn:
    """The turn of one accepted request.

    Cancellation: when `events` is closed or cancelled, the run is stopped before that completes.

    Args:
        recovery: Journals the turn, or continues it from an earlier process; `None` for one that ends with its process.

    Attributes:
        recovery: The progress of the turn, if it outlives its process.
    """

    def __init__(
        self, services: HostServices, context: TurnContext, stop: StopSignals, recovery: Recovery | None
    ) -> None:
        request = context.request
        self._services = services
        self._context = context
        self._stop = stop
        self.recovery = recovery
        self._output = output = TurnOutput(
            open_response(request, recovery),
            ApprovalTracker(
                services.approvals,
                request,
                dict(context.continuation.snapshot.open),
                [row.approval.request_id for row in context.continuation.answers],
            ),
            services.options,
            is_watched=request.stream or request.background,
            usage=recovery.usage if recovery is not None else None,
        )
        self._span = span = TurnSpan()
        self._agent = agent = AgentRun(services, context, output, span, recovery, services.history)
        self._end = Settlement(
            services=services,
            context=context,
            commit=TurnCommit(services, context),
            agent=agent,
            output=output,
            span=span,
            recovery=recovery,
        )
        self._questions = Questions(recovery)
        self._partial = PartialOutput(output.response)
        self._events = self._drive()

    @property
    def response(self) -> Mapping[str, Json]:
        """The response, which grows with each finished item."""
        return self._output.response

    @property
    def is_suspended(self) -> bool:
        """Whether the turn was left for the next process."""
        return self._end.is_suspended

    def stop(self, cause: StopCause) -> None:
        """Stop the turn. Its events end once its end is saved."""
        self._stop.stop(cause)

    def events(self) -> AsyncGenerator[Event]:
        """The events of the turn, to be read once and to the end, or closed."""
        # Responses in the foreground are not shown before they have ended.
        return self._partial.watch(self._events) if self._context.request.background else self._events

    async def close(self) -> None:
        """End a turn that its driver has abandoned: otherwise its conversation would stay taken."""
        with suppress(RuntimeError):  # Something still drives it, to its end.
            await self._events.aclose()

    async def _drive(self) -> AsyncGenerator[Event]:
        """The events. `created` is sent before anything is read or run."""
        self._begin()
        response_id = self._context.request.response_id
        try:
            yield self._output.builder.created()
            for event in self._questions.unsent:
                yield event
            in_progress = self._output.builder.in_progress()
            if self.recovery is None or not await self.recovery.announce(in_progress):
                yield in_progress
            async with AsyncExitStack() as resources, self._agent.pump(resources) as pump:
                self._stop.watch(pump.interrupt, self._context.flow.end)
                try:
                    async for event in self._run(pump):
                        yield event
                    outcome = self._output.ending.outcome()
                except STOPS:
                    raise
                except BaseException as error:  # noqa: BLE001 - the only place where errors of a run become outcomes
                    outcome = outcome_of(error, response_id, may_be_left=self._end.may_be_left)
                finally:
                    self._stop.close()
                closing = [*self._output.closing(outcome, pump.rest() if isinstance(outcome, Cancelled) else ())]
                if self._output.is_broken and isinstance(outcome, Completed):
                    outcome = failed("server_error")
                if not isinstance(outcome, Cancelled) and not self._questions.are_held:
                    for event in closing:
                        yield event
                    closing.clear()
            terminal = await self._end.settle(outcome)
            for event in self._last(closing, terminal):
                yield event
        finally:
            try:
                await self._end.finish()
            finally:
                self._context.permit.release()
                self._services.responses.active.leave(response_id)

    def _begin(self) -> None:
        context, output = self._context, self._output
        request, continuation = context.request, context.continuation
        active = self._services.responses.active.open(request.response_id)
        active.caller, active.context, active.stop = context.caller, context, self._stop
        active.output, active.refuse, active.recovery = self._partial, self.close, self.recovery
        context.permit.begin()
        continuation.has_begun, continuation.response_id = True, request.response_id
        if continuation.lease is not None:
            self._services.sessions.keep(continuation.lease)
        enter_context(context)
        self._span.begin(request)
        set_log_ids(request.response_id, request.sandbox_session_id)
        if context.queued_at is not None:
            output.response["created_at"] = context.queued_at
        output.response["parallel_tool_calls"] = True  # The protocol's default.
        output.describe(request.options.echo, self._services.source.instance)

    async def _run(self, pump: Pump[AgentResponseUpdate]) -> AsyncGenerator[Event]:
        while (batch := await pump.batch(self._services.options.run_timeout)) is not None:
            for emission in self._output.emissions(batch):
                if not isinstance(emission, dict):
                    await self._perform(emission)
                elif not self._questions.hold(emission):
                    yield emission
                    await self._context.flow.give()
            if self._context.is_steered and self._agent.can_be_steered(batch):
                raise EndedEarly(Incomplete("steered"))
            if len(batch) > 1:  # The agent never awaits, and other turns may be waiting for their first token.
                await asyncio.sleep(0)
            if pump.is_held:
                for event in self._due():
                    yield event
                await pump.let_go()
        if (feed := self._agent.feed) is not None:
            later = deferred_questions(feed.agent, feed.session)
            self._output.items.deferred_calls = self._output.approvals.defer(later)

    async def _perform(self, effect: Effect) -> None:
        await self._output.perform(effect)
        if isinstance(effect, SaveApproval) and not self._agent.is_checkpointed:
            self._questions.hold_back()

    def _due(self) -> list[Event]:
        """The events to send before a point from which the turn can be resumed: they are not sent again."""
        return [
            *self._questions.release(),
            *(self._output.closing(Completed()) if self._agent.is_checkpointed else ()),
        ]

    def _last(self, closing: Sequence[Event], terminal: Event | None) -> Iterator[Event]:
        """The events that waited for the outcome to be saved: the driver may abandon a stopped turn at any event."""
        if not (self.is_suspended and self._questions.are_held):  # Otherwise the resumed turn asks.
            yield from (*self._questions.release(), *closing)
        if terminal is not None:
            yield terminal
