"""The turn driver: one turn from `created` to its one terminal event, with everything that happens in between.

It asks the history what to feed the agent, runs it, projects its updates, performs the effects, saves, and tells the
outcome. It is the only place that chooses a terminal event. An error never escapes it after `created`: the SDK would
throw the output away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from hostedagent.agents.pump import READ_AHEAD, Pump, Silent, Stopped
from hostedagent.agents.result import Ending
from hostedagent.agents.run import asking_tools, check_tools, model_name, start_run
from hostedagent.agents.source import is_workflow_agent
from hostedagent.agents.usage import UsageCount
from hostedagent.conversation.approvals import Asking
from hostedagent.conversation.history.base import Feed
from hostedagent.conversation.transcript import read_items
from hostedagent.engine.cancellation import Watch
from hostedagent.engine.commit import Saving
from hostedagent.engine.context import Stage, TurnContext
from hostedagent.engine.hooks import prepare, tell, transformed
from hostedagent.engine.recovery import CheckpointedRun, Recovery, open_response
from hostedagent.engine.tracing import TurnSpan
from hostedagent.errors import Conflict, RequestError, failed, failure
from hostedagent.identity import enter_context
from hostedagent.mcp.consent import asking_instead
from hostedagent.observability.logging import log_failure, set_log_ids
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.content import COMPLETED, INCOMPLETE, Output
from hostedagent.protocol.request.turn_request import set_current_turn
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.coalescing import Merge
from hostedagent.protocol.types import CountUsage, Effect, Emission, EndTurn, Event, Item, Json, SaveApproval
from hostedagent.stores.sessions import Snapshot

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, SupportsAgentRun
    from azure.ai.agentserver.responses import ResponseContext

logger = logging.getLogger(__name__)

LOST: Final = Failed("server_error", "The turn stood still for too long, and another one has the conversation now.")
SILENT: Final = Failed("timeout", "The agent said nothing new for too long.")
SHUT_DOWN: Final = Failed("server_error", "The server was stopped before the turn had ended. Send the request again.")


class _EndedEarly(Exception):
    """A part said that the run cannot go on, or it ended in an earlier process."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome


class Turn:
    """One turn of one request.

    Cancellation: when the generator is closed or cancelled, the run is stopped before that goes on.
    """

    def __init__(
        self,
        stage: Stage,
        turn: TurnContext,
        context: ResponseContext,
        cancellation_signal: asyncio.Event,
        recovery: Recovery | None = None,
    ) -> None:
        self._stage = stage
        self._turn = turn
        self._request = request = turn.request
        self._continuation = continuation = turn.continuation
        self._context = context
        self._signal = cancellation_signal
        self._recovery = recovery
        self._builder = open_response(request, recovery)
        self._output = Output(self._builder, consent_origins=stage.consent_origins)
        self._projection = Projection(self._output)
        self._is_watched = request.stream or request.background
        self._merge = Merge(is_watched=self._is_watched)
        self._ending = Ending()
        self._usage = UsageCount(recovery.usage if recovery is not None else None)
        self._delivery = turn.flow
        self._asking = Asking(stage.approvals, request, continuation.snapshot.open)
        self._saving = Saving(stage.sessions, stage.approvals, stage.store, continuation)
        self._history = stage.history
        self._feed: Feed | None = None
        self._has_run = False
        self._is_settled = False
        self.is_suspended = False
        self._span = TurnSpan()
        self._outcome: Outcome = Cancelled("client")

    @property
    def response(self) -> Mapping[str, Json]:
        """The response, which grows with each item that is done."""
        return self._builder.response

    async def drive(self) -> AsyncGenerator[Event]:
        """The events of the turn. `created` leaves before anything is read or run."""
        self._begin()
        try:
            yield self._builder.created()
            in_progress = self._builder.in_progress()
            if self._recovery is None or not await self._recovery.announce(in_progress):
                yield in_progress
            async with AsyncExitStack() as resources, self._pump(resources) as pump:
                watch = self._watch(pump)
                try:
                    async for event in self._run(pump):
                        yield event
                    outcome = self._ending.outcome()
                except Exception as error:  # noqa: BLE001 - the one place where a run's errors become outcomes
                    outcome = self._outcome_of(error)
                finally:
                    watch.close()
                closing = [*self._closing(outcome, pump.rest() if isinstance(outcome, Cancelled) else ())]
                if not isinstance(outcome, Cancelled):
                    for event in closing:
                        yield event
                    closing.clear()
            outcome, terminal = await self._settle(self._feed, outcome)
            for event in closing:  # The SDK may leave a stopped turn at any event: its end is saved first.
                yield event
            if terminal is not None:
                yield terminal
        finally:
            if not self._is_settled:  # Closed or cancelled in the middle: the conversation must not stay taken.
                await self._settle(None, Cancelled("shutdown" if self._stage.drain.has_begun else "client"))
            await self._finish()

    def _begin(self) -> None:
        self._continuation.has_begun = True
        self._continuation.response_id = self._request.response_id
        if self._continuation.lease is not None:
            self._stage.sessions.keep(self._continuation.lease)
        enter_context(self._turn)
        self._span.begin(self._request)
        set_log_ids(self._request.response_id, self._request.sandbox_session_id)
        self._fill_response()

    def _fill_response(self) -> None:
        response = self._builder.response
        response["parallel_tool_calls"] = True  # The protocol's default; the SDK's stream starts with false.
        response.update(self._request.options.echo)
        instance = self._stage.source.instance
        if instance is not None and (model := model_name(instance)) is not None:
            response["model"] = model

    async def _open(self, resources: AsyncExitStack) -> tuple[SupportsAgentRun, Feed]:
        if self._continuation.is_lost:
            raise Stopped("lost")
        if self._recovery is not None and self._recovery.ended is not None:
            raise _EndedEarly(self._recovery.outcome())
        if (hook := self._stage.hooks.before_run) is not None:
            self._request = await prepare(hook, self._request)
            set_current_turn(self._request)
            self._builder.response.update(self._request.options.echo)
        agent = await resources.enter_async_context(self._stage.source.open(self._request))
        self._meet(agent)
        return agent, await self._history.before(self._request, self._continuation, self._read_history, agent)

    async def _read_history(self) -> Sequence[Item]:
        return await read_items(self._stage.store, self._turn.caller, self._continuation.history_ids)

    def _meet(self, agent: SupportsAgentRun) -> None:
        if is_workflow_agent(agent):
            self._history = self._stage.workflows
        if self._stage.source.instance is None:  # An instance was checked when the host was built.
            self._history.check(agent)
        self._span.meet(agent)
        check_tools(agent, self._request)
        self._output.held_calls = asking_tools(agent)
        self._ending.model = None
        if (model := model_name(agent)) is not None:
            self._builder.response["model"] = model

    def _pump(self, resources: AsyncExitStack) -> Pump[AgentResponseUpdate]:
        """Open the agent, feed it and run it, in one task: what its maker sets in the context, the run finds there."""

        async def start() -> AsyncIterable[AgentResponseUpdate]:
            agent, feed = await self._open(resources)
            if pump.is_stopped:  # The turn has ended without it, and nobody else would close it.
                await resources.aclose()
                raise asyncio.CancelledError
            self._feed = feed
            if self._recovery is not None:
                self._recovery.follow(pump, feed.run, self._builder.response, self._usage)
            self._has_run = True
            if feed.run is not None:
                return feed.run.start()
            return await start_run(
                agent,
                feed.messages,
                self._request,
                session=feed.session,
                keeps_history=self._history.keeps_history,
            )

        set_current_turn(self._request)
        hook = self._stage.hooks.transform_update
        through = partial(transformed, hook) if hook else None
        first = 1 if self._is_watched else READ_AHEAD
        with self._span.current(self._request):
            pump = Pump(start, ends_at=self._ending.see, through=through, instead=self._instead, first=first)
        return pump

    def _instead(self, error: Exception) -> AgentResponseUpdate | None:
        """What the run says in place of an error. A turn whose run never began has nothing to go on from."""
        return asking_instead(error) if self._has_run else None

    def _watch(self, pump: Pump[AgentResponseUpdate]) -> Watch:
        lease, drain = self._continuation.lease, self._stage.drain
        return Watch(self._context, self._signal, lease, drain, pump.interrupt, self._delivery.end)

    async def _run(self, pump: Pump[AgentResponseUpdate]) -> AsyncGenerator[Event]:
        while (batch := await pump.batch(self._stage.run_timeout)) is not None:
            for emission in self._merge.merged(self._project(batch)):
                if isinstance(emission, dict):
                    yield emission
                    await self._delivery.give()
                else:
                    await self._perform(emission)
            if len(batch) > 1:  # The agent does not wait, and other turns may wait for their first word.
                await asyncio.sleep(0)
            if pump.is_held:
                if self._feed is not None and isinstance(self._feed.run, CheckpointedRun):
                    for event in self._closing(Completed()):  # Whoever spoke has spoken: none of it is said again.
                        yield event
                await pump.let_go()
        if self._feed is not None:
            self._output.deferred_calls = self._asking.defer(self._feed.deferred_questions())

    def _project(self, updates: Iterable[AgentResponseUpdate]) -> Iterator[Emission]:
        for update in updates:
            if self._asking.open and update.role == "tool":
                for part in self._asking.settled_calls(update):
                    yield from self._projection.part(part)
            yield from self._projection.update(update)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case CountUsage():
                self._usage.count(effect)
            case SaveApproval():
                await self._asking.ask(effect)
            case EndTurn():
                raise _EndedEarly(effect.outcome)
            case _:
                assert_never(effect)

    def _outcome_of(self, error: Exception) -> Outcome:
        """What a turn that raised comes to. Only a `RequestError` has words for the caller."""
        match error:
            case Stopped(cause="lost"):
                return LOST
            case Stopped():
                return Cancelled(error.cause)
            case _EndedEarly():
                return error.outcome
            case Silent():
                logger.error("The run of %s said nothing new for HostOptions.run_timeout.", self._request.response_id)
                return SILENT
            case RequestError():
                return Failed("invalid_prompt", error.message)
            case _:
                log_failure(logger, f"The run of {self._request.response_id} failed", error)
                return failure(error)

    def _closing(self, outcome: Outcome, rest: Iterable[AgentResponseUpdate] = ()) -> Iterator[Event]:
        """Say what had arrived, and end what is open. Nothing that closing raises may hide the outcome."""
        end = COMPLETED if isinstance(outcome, Completed) else INCOMPLETE
        yield from self._merge.rest()
        for last in (self._unasked(rest), self._projection.close(end)):
            try:
                yield from (emission for emission in self._merge.merged(last) if isinstance(emission, dict))
            except Exception as error:  # noqa: BLE001 - the terminal event must still come
                log_failure(logger, f"Closing the items of {self._request.response_id} failed", error)

    def _unasked(self, rest: Iterable[AgentResponseUpdate]) -> Iterator[Emission]:
        """What a run had said when it was stopped, up to a question: those are saved before they are asked."""
        for emission in self._project(rest):
            match emission:
                case SaveApproval() | EndTurn():
                    return
                case CountUsage():
                    self._usage.count(emission)
                case event:
                    yield event

    async def _settle(self, feed: Feed | None, outcome: Outcome) -> tuple[Outcome, Event | None]:
        """Save how the turn ended, and give the conversation back, before anybody is told.

        A turn whose save failed has failed; it leaves what a failed turn leaves.
        """
        self._is_settled = True
        self._outcome = outcome
        if self._recovery is not None and outcome == Cancelled("shutdown"):
            self.is_suspended = True  # All is left as it is, the conversation too: the next process goes on.
            if self._continuation.lease is not None:
                await self._stage.sessions.hand_on(self._continuation.lease)
            self._end_span()
            return outcome, None
        terminal = self._terminal(outcome)
        try:
            with self._span.current(self._request):
                await asyncio.shield(self._save(feed, outcome, terminal))
        except Exception as error:  # noqa: BLE001 - becomes the outcome
            log_failure(logger, f"Saving the turn {self._request.response_id} failed", error)
            if isinstance(outcome, Completed | Incomplete):
                return await self._settle(None, LOST if isinstance(error, Conflict) else failed("server_error"))
        self._end_span()
        return outcome, terminal

    def _end_span(self) -> None:
        self._span.end(self._outcome, model=self._ending.model, usage=self._usage.wire())

    async def _finish(self) -> None:
        self._end_span()
        is_told = self.is_suspended or (self._recovery is not None and self._recovery.is_over)
        if (hook := self._stage.hooks.on_outcome) is not None and not is_told:
            with self._span.current(self._request):
                await tell(hook, self._request, self._outcome)
        if self._recovery is not None and not self.is_suspended:
            await self._recovery.over()

    async def _save(self, feed: Feed | None, outcome: Outcome, terminal: Event | None) -> None:
        if self._recovery is not None and (ended := self._recovery.repeats(outcome)) is not None:
            if self._recovery.is_over:
                return
            if isinstance(outcome, Completed | Incomplete):
                await self._saving.keep(self._request, ended.response, ended.snapshot, None)
                return
        if feed is None or terminal is None or not isinstance(outcome, Completed | Incomplete):
            response = terminal["response"] if terminal is not None else None
            made = self._builder.response["output"]
            await self._saving.leave(self._request, response, made=made, has_run=self._has_run)
            return
        snapshot = Snapshot(self._history.after(feed), tuple(self._asking.asked), self._asking.open)
        await self._saving.keep(self._request, terminal["response"], snapshot, feed.run, self._recovery)

    def _terminal(self, outcome: Outcome) -> Event | None:
        """The one terminal event; none after a stop for the client's sake, which the SDK tells."""
        builder, usage = self._builder, self._usage.wire()
        if self._recovery is not None and (ended := self._recovery.repeats(outcome)) is not None:
            return ended.event()
        if (model := self._ending.model) is not None:
            builder.response["model"] = model
        match outcome:
            case Completed():
                return builder.completed(usage)
            case Incomplete(reason):
                return builder.incomplete(reason, usage)
            case Failed():
                return builder.failed(outcome, usage)
            case Cancelled("shutdown"):
                return builder.failed(SHUT_DOWN, usage)
            case Cancelled():
                return None
            case _:
                assert_never(outcome)
