"""One turn, from `created` to its one terminal event.

It prepares the input with the history policy, runs the agent, passes its updates through the output, commits, and
reports the outcome. After `created` no error is raised: the driver would lose the output.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from hostedagent.agents.pump import READ_AHEAD, Pump, Stopped
from hostedagent.agents.run import check_tools, model_name, start_run, tool_roles
from hostedagent.agents.source import is_workflow_agent
from hostedagent.agents.whole_run import can_run_whole
from hostedagent.conversation.approvals import ApprovalTracker
from hostedagent.conversation.compaction import open_history
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import Feed
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.transcript import read_items
from hostedagent.engine.active import ActiveTurns
from hostedagent.engine.cancellation import StopSignals
from hostedagent.engine.commit import TurnCommit
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.hooks import prepare, tell, transformed
from hostedagent.engine.output import EndedEarly, TurnOutput
from hostedagent.engine.partial_output import PartialOutput
from hostedagent.engine.recovery import CheckpointedRun, Questions, Recovery, open_response
from hostedagent.engine.run_errors import LOST, outcome_of
from hostedagent.engine.tracing import TurnSpan
from hostedagent.errors import Conflict, InvalidRequest
from hostedagent.failures import failed
from hostedagent.identity import enter_context
from hostedagent.mcp.consent import asking_instead
from hostedagent.observability.logging import log_failure, set_log_ids
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome, StopCause
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.wire import wire_text
from hostedagent.stores.base import StoreError, StoreUnavailable
from hostedagent.stores.journals import Ended
from hostedagent.stores.sessions import Snapshot

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, SupportsAgentRun

logger = logging.getLogger(__name__)


class Turn:
    """The turn of one accepted request.

    Cancellation: when `events` is closed or cancelled, the run is stopped before that completes.

    Args:
        active: The registry that contains the turn while its events are read.
        recovery: Journals the turn, or continues it from an earlier process; `None` for one that ends with its process.

    Attributes:
        is_suspended: Whether the turn was left for the next process.
        recovery: The progress of the turn, if it outlives its process.
    """

    def __init__(
        self,
        services: HostServices,
        context: TurnContext,
        stop: StopSignals,
        commit: TurnCommit,
        active: ActiveTurns,
        recovery: Recovery | None = None,
    ) -> None:
        request = self._request = context.request
        self._services = services
        self._context = context
        self._stop = stop
        self._commit = commit
        self._active = active
        self.recovery = self._recovery = recovery
        self._output = TurnOutput(
            open_response(request, recovery),
            ApprovalTracker(
                services.approvals,
                request,
                context.continuation.snapshot.open,
                [row.approval.request_id for row in context.continuation.answers],
            ),
            services.options,
            is_watched=request.stream or request.background,
            usage=recovery.usage if recovery is not None else None,
        )
        self._history = services.history
        self._feed: Feed | None = None
        self._span = TurnSpan()
        self._outcome: Outcome | None = None
        self.is_suspended = False
        self._questions = Questions(recovery)
        self._partial = PartialOutput(self._output.response)
        self._events = self._drive()

    @property
    def response(self) -> Mapping[str, Json]:
        """The response, which grows with each finished item."""
        return self._output.response

    @property
    def _may_be_left(self) -> bool:
        """Whether the turn is resumed if it cannot go on here; not if another one has its conversation."""
        recovery = self._recovery
        return recovery is not None and recovery.may_be_left and not self._continuation.is_lost

    @property
    def _continuation(self) -> Continuation:
        return self._context.continuation

    def stop(self, cause: StopCause) -> None:
        """Stop the turn. Its events end once its end is saved."""
        self._stop.stop(cause)

    def events(self) -> AsyncGenerator[Event]:
        """The events of the turn, to be read once and to the end, or closed."""
        # Responses in the foreground are not shown before they have ended.
        return self._partial.watch(self._events) if self._request.background else self._events

    async def close(self) -> None:
        """End a turn that its driver has abandoned: otherwise its conversation would stay taken."""
        with suppress(RuntimeError):  # Something still drives it, to its end.
            await self._events.aclose()

    async def _drive(self) -> AsyncGenerator[Event]:
        """The events. `created` is sent before anything is read or run."""
        self._begin()
        try:
            yield self._output.builder.created()
            for event in self._questions.unsent:
                yield event
            in_progress = self._output.builder.in_progress()
            if self._recovery is None or not await self._recovery.announce(in_progress):
                yield in_progress
            async with AsyncExitStack() as resources, self._pump(resources) as pump:
                self._stop.watch(pump.interrupt, self._context.flow.end)
                try:
                    async for event in self._run(pump):
                        yield event
                    outcome = self._output.ending.outcome()
                except Exception as error:  # noqa: BLE001 - the only place where errors of a run become outcomes
                    outcome = outcome_of(error, self._request.response_id, may_be_left=self._may_be_left)
                finally:
                    self._stop.close()
                closing = [*self._output.closing(outcome, pump.rest() if isinstance(outcome, Cancelled) else ())]
                if not isinstance(outcome, Cancelled) and not self._questions.are_held:
                    for event in closing:
                        yield event
                    closing.clear()
            terminal = await self._settle(self._feed, outcome)
            for event in self._last(closing):
                yield event
            if terminal is not None:
                yield terminal
        finally:
            if self._outcome is None:  # Closed or cancelled early: the conversation must be released.
                await self._settle(None, Cancelled(self._cause_of_abandonment()))
            try:
                await self._finish()
            finally:
                self._context.permit.release()
                self._active.leave(self._request.response_id)

    def _cause_of_abandonment(self) -> StopCause:
        is_resumed = self._recovery is not None and self._recovery.response is not None
        was_told = is_resumed or self._context.queued_at is not None or self._context.is_kept
        is_left = was_told and self._may_be_left
        return "shutdown" if self._services.shutdown.has_begun else "lost" if is_left else "client"

    def _begin(self) -> None:
        request, continuation = self._request, self._continuation
        active = self._active.open(request.response_id)
        active.caller, active.context, active.stop = self._context.caller, self._context, self._stop
        active.output, active.refuse, active.recovery = self._partial, self.close, self._recovery
        self._context.permit.begin()
        continuation.has_begun, continuation.response_id = True, request.response_id
        if continuation.lease is not None:
            self._services.sessions.keep(continuation.lease)
        enter_context(self._context)
        self._span.begin(request)
        set_log_ids(request.response_id, request.sandbox_session_id)
        if self._context.queued_at is not None:
            self._output.response["created_at"] = self._context.queued_at
        self._output.response["parallel_tool_calls"] = True  # The protocol's default.
        self._describe(self._services.source.instance)

    async def _open(self, resources: AsyncExitStack) -> tuple[SupportsAgentRun, Feed]:
        ended = self._recovery.outcome() if self._recovery is not None and self._recovery.ended is not None else None
        if self._continuation.is_lost and not isinstance(ended, Failed | Cancelled):
            raise Stopped("lost")
        if ended is not None:
            raise EndedEarly(ended)
        if (hook := self._services.hooks.before_run) is not None:
            self._context.request = self._request = await prepare(hook, self._request)
            self._output.describe(self._request.options.echo, None)
        agent = await self._services.source.open(self._request, resources)
        self._inspect(agent)
        return agent, await self._history.before(self._request, self._continuation, self._read_history, agent)

    async def _read_history(self) -> Sequence[Item]:
        caller = self._context.caller
        items = await read_items(self._services.responses, caller, self._continuation.history_ids)
        await open_history(items, caller, self._services.sessions.seals, self._request.reader)
        return items

    def _inspect(self, agent: SupportsAgentRun) -> None:
        """Select the history policy, and refuse an agent that cannot work with it."""
        if is_workflow_agent(agent):
            self._history = self._services.workflows()
        is_made = self._services.source.instance is None
        if is_made:  # An instance was checked when the host was built.
            self._history.check(agent)
        if is_made or self._services.hooks.before_run is not None:
            self._describe(agent)
        self._span.meet(agent)
        check_tools(agent, self._request)
        self._output.items.tools = tool_roles(agent, self._request)

    def _describe(self, agent: object) -> None:
        """Repeat the request in the response, with the model and, unless the caller names one, the agent."""
        self._output.describe(self._request.options.echo, model_name(agent))
        name = getattr(agent, "name", None)
        if isinstance(name, str) and name and "agent_reference" not in self._request.options.echo:
            self._output.response["agent_reference"] = {"type": "agent_reference", "name": wire_text(name)}

    def _pump(self, resources: AsyncExitStack) -> Pump[AgentResponseUpdate]:
        """Open and run the agent in one task, so that the run sees the context variables that its factory sets."""

        async def start() -> AsyncIterable[AgentResponseUpdate]:
            agent, feed = await self._open(resources)
            if pump.is_stopped:  # The turn has ended in the meantime, and nothing else would close the agent.
                await resources.aclose()
                raise asyncio.CancelledError
            self._feed = feed
            self._output.items.earlier_call = feed.find_call
            self._output.compaction = feed.compaction
            if self._recovery is not None:
                self._recovery.follow(pump, feed.run, self._output.response, self._output.usage)
            if not self._request.generates:
                return self._warmed_up(feed)
            if feed.run is not None:
                return feed.run.start()
            return await start_run(
                agent if feed.session is None else self._services.source.with_session(agent),
                feed.messages,
                self._request,
                session=feed.session,
                keeps_history=self._history.keeps_history,
                calls=self._output.ending.calls,
                streams=self._streams(agent),
            )

        hook, request = self._services.hooks.transform_update, self._request
        through = partial(transformed, hook) if hook else None
        first = 1 if request.stream or request.background else READ_AHEAD
        with self._span.current(request):
            pump = Pump(start, ends_at=self._output.ending.see, through=through, instead=asking_instead, first=first)
        return pump

    def _streams(self, agent: SupportsAgentRun) -> bool:
        """Whether the run streams: a client reads its events, or they contain more than its result."""
        is_read = self._request.stream or self._request.background or self._recovery is not None
        return is_read or self._services.streams_always or not can_run_whole(agent)

    def _warmed_up(self, feed: Feed) -> AsyncIterable[AgentResponseUpdate]:
        """No updates: the turn only stores its input for later turns."""
        if feed.run is not None or not isinstance(self._history, ReplayHistory):
            raise InvalidRequest("generate=false works only where the host keeps the conversation as items.")
        return _nothing()

    async def _run(self, pump: Pump[AgentResponseUpdate]) -> AsyncGenerator[Event]:
        while (batch := await pump.batch(self._services.options.run_timeout)) is not None:
            for emission in self._output.emissions(batch):
                if not isinstance(emission, dict):
                    await self._output.perform(emission)
                    self._questions.see(emission, self._feed.run if self._feed is not None else None)
                elif not self._questions.hold(emission):
                    yield emission
                    await self._context.flow.give()
            if self._context.is_steered and self._can_be_steered(batch):
                raise EndedEarly(Incomplete("steered"))
            if len(batch) > 1:  # The agent never awaits, and other turns may be waiting for their first token.
                await asyncio.sleep(0)
            if pump.is_held:
                for event in self._due():
                    yield event
                await pump.let_go()
        if self._feed is not None:
            self._output.items.deferred_calls = self._output.approvals.defer(self._feed.deferred_questions())

    def _last(self, closing: Sequence[Event]) -> Iterator[Event]:
        """The events that waited for the outcome to be saved: the driver may abandon a stopped turn at any event."""
        if not (self.is_suspended and self._questions.are_held):  # Otherwise the resumed turn asks.
            yield from (*self._questions.release(), *closing)

    def _due(self) -> list[Event]:
        """The events to send before a point from which the turn can be resumed: they are not sent again."""
        is_kept = self._feed is not None and isinstance(self._feed.run, CheckpointedRun)
        return [*self._questions.release(), *(self._output.closing(Completed()) if is_kept else ())]

    def _can_be_steered(self, batch: Sequence[AgentResponseUpdate]) -> bool:
        """Whether the next turn can continue from the items: the results of a step are complete."""
        is_plain = self._feed is not None and self._feed.run is None and isinstance(self._history, ReplayHistory)
        return is_plain and batch[-1].role == "tool"

    async def _settle(self, feed: Feed | None, outcome: Outcome) -> Event | None:
        """Save the outcome and release the conversation, before the outcome is reported.

        A turn that cannot be saved has failed, and is rolled back like any failed turn.
        """
        self._outcome = outcome
        if self._recovery is not None and await self._is_left(self._recovery, outcome):
            return await self._leave()
        ended = self._recovery.repeats(outcome) if self._recovery is not None else None
        terminal = ended.event() if ended is not None else self._output.terminal(outcome)
        try:
            with self._span.current(self._request):
                await asyncio.shield(self._save(feed, outcome, terminal, ended))
        except Exception as error:  # noqa: BLE001 - becomes the outcome
            log_failure(logger, f"Saving the turn {self._request.response_id} failed", error)
            if self._may_be_left and isinstance(error, StoreUnavailable | Conflict):
                return await self._leave()
            if isinstance(outcome, Completed | Incomplete):
                return await self._settle(None, LOST if isinstance(error, Conflict) else failed("server_error"))
        self._end_span()
        return terminal

    async def _leave(self) -> None:
        self.is_suspended = True  # Everything is kept for the resumed turn, including the lease.
        await self._commit.suspend()
        self._end_span()

    async def _is_left(self, recovery: Recovery, outcome: Outcome) -> bool:
        """Whether the turn is resumed, by another process or later, so that nothing of it is stored now."""
        if outcome in (Cancelled("shutdown"), Cancelled("lost")):
            return True
        try:
            return await recovery.is_elsewhere()
        except StoreError as error:  # Later writes fail too.
            log_failure(logger, f"Looking up who has the turn {self._request.response_id} failed", error)
            return False

    async def _save(self, feed: Feed | None, outcome: Outcome, terminal: Event | None, ended: Ended | None) -> None:
        counts = isinstance(outcome, Completed | Incomplete)
        if ended is not None and self._recovery is not None and self._recovery.is_over:
            return
        if ended is not None and counts:
            await self._commit.commit(self._request, ended.response, ended.snapshot, None)
        elif feed is not None and terminal is not None and counts:
            asked = self._output.approvals
            snapshot = Snapshot(self._history.after(feed), tuple(asked.asked), asked.open)
            await self._commit.commit(self._request, terminal["response"], snapshot, feed.run, self._recovery)
        elif terminal is not None and counts and not self._continuation.answers:  # Consent was asked for before a run.
            await self._commit.commit(self._request, terminal["response"], self._commit.unchanged(), None)
        else:
            response = terminal["response"] if terminal is not None else None
            if ended is None and self._recovery is not None and self._recovery.may_be_left:
                # Any process repeats it from here, whatever of it has been stored.
                cancelled: Mapping[str, Json] = {**self._output.response, "status": "cancelled", "output": []}
                await self._recovery.run_ended(response or cancelled, Snapshot())
            items, has_run = self._output.response["output"], self._feed is not None or ended is not None
            await self._commit.roll_back(self._request, response, items=items, has_run=has_run)

    def _end_span(self) -> None:
        if self._outcome is not None:
            self._span.end(self._outcome, model=self._output.ending.model, usage=self._output.usage)

    async def _finish(self) -> None:
        self._end_span()
        is_known = self.is_suspended or (self._recovery is not None and self._recovery.is_over)
        if (hook := self._services.hooks.on_outcome) is not None and self._outcome is not None and not is_known:
            with self._span.current(self._request):
                await tell(hook, self._request, self._outcome)
        if self._recovery is not None and not self.is_suspended:
            await self._recovery.over()


async def _nothing() -> AsyncGenerator[AgentResponseUpdate]:
    for update in ():
        yield update
