"""The agent of one turn: opened with the history that the turn continues, and run to its last update."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from hostedagent.agents.pump import READ_AHEAD, Pump, Stopped
from hostedagent.agents.run import check_tools, start_run, tool_roles
from hostedagent.agents.source import is_workflow_agent
from hostedagent.agents.whole_run import can_run_whole
from hostedagent.conversation.compaction import open_history
from hostedagent.conversation.history.base import Feed, HistoryPolicy
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.transcript import read_items
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.hooks import prepare, transformed
from hostedagent.engine.output import EndedEarly, TurnOutput
from hostedagent.engine.recovery import CheckpointedRun, Recovery
from hostedagent.engine.tracing import TurnSpan
from hostedagent.errors import InvalidRequest
from hostedagent.mcp.consent import asking_instead
from hostedagent.outcomes import Cancelled, Failed
from hostedagent.protocol.types import Item
from hostedagent.stores.sessions import Snapshot

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, SupportsAgentRun


class AgentRun(Struct):
    """Opens the agent of one turn and runs it.

    Args:
        history: The policy for the conversation, replaced by that of workflows when the agent is one.
        feed: The input of the run; `None` until the agent is open.
    """

    services: HostServices
    context: TurnContext
    output: TurnOutput
    span: TurnSpan
    recovery: Recovery | None
    history: HistoryPolicy
    feed: Feed | None = None

    def pump(self, resources: AsyncExitStack) -> Pump[AgentResponseUpdate]:
        """Open and run the agent in one task, so that the run sees the context variables that its factory sets."""

        async def start() -> AsyncIterable[AgentResponseUpdate]:
            agent, feed = await self._open(resources)
            if pump.is_stopped:  # The turn has ended in the meantime, and nothing else would close the agent.
                await resources.aclose()
                raise asyncio.CancelledError
            self.feed = feed
            self.output.items.earlier_call = feed.find_call
            self.output.compaction = feed.compaction
            if self.recovery is not None:
                self.recovery.follow(pump, feed.run, self.output.response, self.output.usage)
            return await self._start(agent, feed)

        hook, request = self.services.hooks.transform_update, self.context.request
        through = partial(transformed, hook) if hook else None
        first = 1 if request.stream or request.background else READ_AHEAD
        with self.span.current(request):
            pump = Pump(start, ends_at=self.output.ending.see, through=through, instead=asking_instead, first=first)
        return pump

    async def _open(self, resources: AsyncExitStack) -> tuple[SupportsAgentRun, Feed]:
        services, context = self.services, self.context
        ended = self.recovery.outcome() if self.recovery is not None and self.recovery.ended is not None else None
        if context.continuation.is_lost and not isinstance(ended, Failed | Cancelled):
            raise Stopped("lost")
        if ended is not None:
            raise EndedEarly(ended)
        if (hook := services.hooks.before_run) is not None:
            context.request = await prepare(hook, context.request)
            self.output.describe(context.request.options.echo)
        agent = await services.source.open(context.request, resources)
        self._inspect(agent)
        return agent, await self.history.before(context.request, context.continuation, self._read_history, agent)

    def _inspect(self, agent: SupportsAgentRun) -> None:
        """Select the history policy, and refuse an agent that cannot work with it."""
        request = self.context.request
        if is_workflow_agent(agent):
            self.history = self.services.workflows()
        is_made = self.services.source.instance is None
        if is_made:  # An instance was checked when the host was built.
            self.history.check(agent)
        if is_made or self.services.hooks.before_run is not None:
            self.output.describe(request.options.echo, agent)
        self.span.meet(agent)
        check_tools(agent, request)
        self.output.items.tools = tool_roles(agent, request)

    async def _read_history(self) -> Sequence[Item]:
        services, context = self.services, self.context
        items = await read_items(services.responses, context.caller, context.continuation.history_ids)
        await open_history(items, context.caller, services.sessions.seals, context.request.reader)
        return items

    async def _start(self, agent: SupportsAgentRun, feed: Feed) -> AsyncIterable[AgentResponseUpdate]:
        request = self.context.request
        if not request.generates:
            if feed.run is not None or not isinstance(self.history, ReplayHistory):
                raise InvalidRequest("generate=false works only where the host keeps the conversation as items.")
            return _nothing()  # The turn only stores its input for later turns.
        if feed.run is not None:
            return feed.run.start()
        # A run streams if a client reads its events, or if they contain more than its result.
        is_read = request.stream or request.background or self.recovery is not None
        return await start_run(
            agent if feed.session is None else self.services.source.with_session(agent),
            feed.messages,
            request,
            session=feed.session,
            keeps_history=self.history.keeps_history,
            calls=self.output.ending.calls,
            streams=is_read or self.services.streams_always or not can_run_whole(agent),
        )

    @property
    def is_checkpointed(self) -> bool:
        """Whether it can be resumed within the turn."""
        return self.feed is not None and isinstance(self.feed.run, CheckpointedRun)

    def can_be_steered(self, batch: Sequence[AgentResponseUpdate]) -> bool:
        """Whether the next turn can continue from the items: the results of a step are complete."""
        is_plain = self.feed is not None and self.feed.run is None and isinstance(self.history, ReplayHistory)
        return is_plain and batch[-1].role == "tool"

    def snapshot(self, feed: Feed) -> Snapshot:
        """The state for later turns, once the run has succeeded."""
        approvals = self.output.approvals
        return Snapshot(self.history.after(feed), tuple(approvals.asked), approvals.open)


async def _nothing() -> AsyncGenerator[AgentResponseUpdate]:
    for update in ():
        yield update
