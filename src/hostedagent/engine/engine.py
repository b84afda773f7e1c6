"""The engine: accepts requests, runs turns, and reads and deletes responses. It knows neither HTTP nor the SDK.

`accept` refuses a request before anything is stored or run, so that it gets a real status. A driver translates its
protocol into these calls, and the events of a `Turn` back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from hostedagent.agents.run import known_tools, tool_names
from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.references import resolve_named
from hostedagent.engine.busy import BusyConversations
from hostedagent.engine.cancellation import StopSignals
from hostedagent.engine.concurrency import ConcurrencyLimiter, Permit
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.elsewhere import LOOK_SECONDS, Elsewhere
from hostedagent.engine.flow_control import FlowControl, flow_of
from hostedagent.engine.following import following
from hostedagent.engine.partial_output import output_of
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.sent_events import end_stream
from hostedagent.engine.turn import Turn
from hostedagent.errors import Busy, InvalidRequest, NotFound, Unavailable, UnsupportedOption
from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_response
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import QUEUED, RUNNING
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import (
    FIRST_PAGE,
    EventLog,
    LoggedEvent,
    Page,
    Signals,
    StoreNotFound,
    StoreUnavailable,
)
from hostedagent.stores.effects import Effects

CANCEL_SECONDS: Final = 10.0
"""Seconds that a cancel waits for the turn to end."""

SETTLING_LOOKS: Final = 200
"""Looks at a response that has ended and is to be deleted, until its process has nothing more to store of it."""

STOPPING: Final = "The server is being stopped. Send the request again."


class Engine:
    """Runs the turns of a host."""

    def __init__(
        self,
        services: HostServices,
        continuations: Continuations,
        limiter: ConcurrencyLimiter,
        log: EventLog,
        signals: Signals,
    ) -> None:
        self.services = services
        self.options = services.options
        self.store = services.responses
        self.active = services.responses.active
        self.log = log
        self.elsewhere = Elsewhere(signals, self.active)
        self.cancel_queued: Callable[[Caller, str], Awaitable[bool]] | None = None
        """Cancels a turn in the queue; `False` if it has started. `None` if the host has no queue."""
        self._continuations = continuations
        self.limiter = limiter
        self._busy = BusyConversations(self.options.when_busy, continuations, self.active, self.check_accepts)
        agent = services.source.instance
        self._reserved_tools = tool_names(agent)  # The caller's tools must not have these names.
        self._known_tools = known_tools(agent) if agent is not None else None  # Otherwise known only during a run.

    def check_accepts(self) -> None:
        """Refuse new turns during shutdown; raises `Unavailable` when the process is shutting down."""
        if self.services.shutdown.has_begun:
            raise Unavailable(STOPPING)

    def check_compacts(self, param: str) -> None:
        """Refuse to compact a conversation that the host does not keep as items.

        Raises:
            UnsupportedOption: The conversation is kept elsewhere.
        """
        if not isinstance(self.services.history, ReplayHistory) or self.services.source.sample is not None:
            says = f"{param} works only where the host keeps the conversation of an agent as items."
            raise UnsupportedOption(says, param=param)

    async def accept(
        self, request: TurnRequest, left: Callable[[], Awaitable[object]], permit: Permit | None = None
    ) -> TurnContext:
        """Accept a request and acquire what its turn needs, or refuse it. Call `abandon` when the request is over.

        Args:
            request: With its ids if the driver knows them already (`TurnRequest.named`): an approval that it uses then
                tells whether its turn has begun.
            left: Returns when the caller has disconnected, which ends the wait for a permit.
            permit: The slot of a turn of the queue, which is tried again later if its conversation is busy.

        Raises:
            RequestError: The request is refused; nothing was stored or run.
            StoreError: A store is not available.
        """
        self._check(request)
        is_queued = permit is not None
        permit = permit or await self.limiter.acquire(left)
        try:
            self.check_accepts()
            continuation = await (self._busy.open_now(request) if is_queued else self._busy.open(request, left))
            try:
                resolved = request
                if continuation.input is not request.input:
                    resolved = replace(request, input=continuation.input)
                seals = self.services.sessions.seals
                request = await resolve_named(resolved, self.store, continuation.history_ids, seals)
            except BaseException:
                await self._continuations.abandon(continuation, request.caller)
                raise
        except BaseException:
            permit.abandon()
            raise
        flow = flow_of(request)
        return TurnContext(caller=request.caller, request=request, continuation=continuation, permit=permit, flow=flow)

    async def inspect(self, request: TurnRequest) -> None:
        """Check a request that will be queued, and refuse it if its turn would be refused. Nothing is acquired.

        Raises:
            RequestError: The request is refused.
            StoreError: A store is not available.
        """
        self._check(request)
        try:
            continuation = await self._continuations.open(request)
        except Busy:
            if self.options.when_busy == "reject":
                raise
            return
        await self._continuations.abandon(continuation, request.caller)

    def _check(self, request: TurnRequest) -> None:
        self.check_accepts()
        if request.compact_threshold is not None:
            self.check_compacts("context_management")
        request.options.tools.check_names(self._reserved_tools)
        if self._known_tools is not None:
            request.options.tools.check_choice(self._known_tools)

    async def abandon(self, context: TurnContext) -> None:
        """Release what an accepted request acquired, unless its turn has started; its reader has gone."""
        context.flow.end()
        on_over, context.on_over = context.on_over, None  # Timers keep the context for a while: not the turn too.
        if on_over is not None:
            on_over()
        try:
            await self._continuations.abandon(context.continuation, context.caller)
        finally:
            context.permit.abandon()

    def reopen(self, request: TurnRequest, continuation: Continuation) -> TurnContext:
        """Accept the turn of an earlier process again."""
        permit, flow = self.limiter.grant(), FlowControl(is_bounded=False)
        return TurnContext(caller=request.caller, request=request, continuation=continuation, permit=permit, flow=flow)

    def start(self, context: TurnContext, recovery: Recovery | None) -> Turn:
        """Start the turn of an accepted request, whose ids are now known.

        Args:
            recovery: Journals the turn, or continues it; `None` for one that ends with its process.
        """
        services, continuation = self.services, context.continuation
        stop = StopSignals(services.shutdown, continuation.lease)
        context.effect = partial(_effect, services.effects, stop, recovery)
        return Turn(services, context, stop, recovery)

    async def check_owner(self, caller: Caller, response_id: str) -> None:
        """Check that a response exists and belongs to the caller.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
        """
        if not await self.store.owns(caller, response_id):
            raise NotFound(f"Response with id '{response_id}' not found.", param="response_id")

    async def retrieve(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """A response; while it runs, with its output so far, in whichever process that is.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
        """
        await self.check_owner(caller, response_id)
        response = await self.store.get(caller, response_id)
        if response.get("status") == "in_progress":
            is_here = self.active.get(response_id) is not None
            sent = self.active.output_of(response_id) if is_here else await self._output_elsewhere(caller, response_id)
            response["output"] = max(sent, response.get("output") or [], key=len)
        return public_response(response)

    def output_so_far(self, response_id: str, stored: list[Item]) -> list[Item]:
        """The output of a running response: from its turn in this process, or as stored."""
        return max(self.active.output_of(response_id), stored, key=len)

    async def _output_elsewhere(self, caller: Caller, response_id: str) -> list[Item]:
        """The output so far of a turn in another process, from its events."""
        try:
            return output_of(decode(row.data) for row in await self.log.read(caller, response_id))
        except StoreNotFound:  # It has no events without `stream`.
            return []

    async def replay(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """The events of a background stream after a number: the existing ones, then the new ones.

        Raises:
            NotFound: The response does not exist, or belongs to another scope.
            InvalidRequest: It was not created as a background stream, or its events have expired.
        """
        response = await self.retrieve(caller, response_id)
        try:
            await self.log.read(caller, response_id)
        except StoreNotFound:
            wanted = "stream=true" if response.get("background") else "background=true"
            says = f"This response cannot be streamed because it was not created with {wanted}."
            raise InvalidRequest(says, param="stream") from None
        return following(self.log, self.store, caller, response_id, after=after)

    async def end(self, caller: Caller, response_id: str, fields: Mapping[str, Json]) -> None:
        """End a background response that no process runs, unless it has ended, and inform its readers."""
        response = await self.store.get(caller, response_id)
        if response.get("status") in RUNNING:
            response = await self.store.end(caller, {**response, **fields})
        with suppress(StoreNotFound):
            await end_stream(self.log, caller, response_id, public_response(response))

    async def _has_ended(self, caller: Caller, response_id: str) -> bool:
        """Whether a turn that is cancelled has ended; one in the queue may be taken, just now, by a process."""
        status = (await self.store.get(caller, response_id)).get("status")
        if status == QUEUED and self.cancel_queued is not None:
            return await self.cancel_queued(caller, response_id)
        return status not in RUNNING

    async def cancel(self, caller: Caller, response_id: str, *, of_any_kind: bool = False) -> dict[str, Json]:
        """Cancel a turn, and return its response once the turn has ended.

        Args:
            of_any_kind: Whether also a turn in the foreground is cancelled, which the Responses protocol refuses.

        Raises:
            NotFound: It does not exist, belongs to another scope, or runs in the foreground.
            InvalidRequest: It ran in the foreground, or has ended.
        """
        response = await self.retrieve(caller, response_id)
        if not of_any_kind and not response.get("background"):
            if response.get("status") in RUNNING:  # Its client disconnects instead. As on the SDK's host.
                raise NotFound(f"Response with id '{response_id}' not found.", param="response_id")
            raise InvalidRequest("Cannot cancel a synchronous response.", param="response_id")
        status = response.get("status")
        if status == "cancelled":
            return response
        if status not in RUNNING:
            kind = f"a {status} response" if status != "incomplete" else "a response in terminal state"
            raise InvalidRequest(f"Cannot cancel {kind}.", param="response_id")
        active = self.active.get(response_id)
        with suppress(TimeoutError):  # Then it is still in progress, and says so.
            async with asyncio.timeout(CANCEL_SECONDS):
                if active is not None and active.stop is not None:
                    active.stop.stop("client")
                    await active.ended.wait()
                if not await self._has_ended(caller, response_id):  # Elsewhere, or left here and about to be resumed.
                    await self.elsewhere.cancel(caller, response_id, partial(self._has_ended, caller, response_id))
        return await self.retrieve(caller, response_id)

    async def forget(self, caller: Caller, response_id: str) -> None:
        """Delete the snapshot, the checkpoint and the open approvals of a response.

        Raises:
            Busy: A process is still ending its turn.
            StoreError: A store is not available; deleting again is safe.
        """
        for _ in range(SETTLING_LOOKS):
            if not await self.store.is_left(caller, response_id):
                break
            await asyncio.sleep(LOOK_SECONDS)
        else:
            raise Busy("The turn of this response is still being ended. Try again in a moment.", param="response_id")
        snapshot = await self._continuations.sessions.forget(caller, response_id)
        await self._continuations.approvals.forget(caller, snapshot.approvals)
        await self.services.effects.delete(caller, response_id)

    async def check_elsewhere(self, caller: Caller, response_id: str) -> None:
        """Refuse to delete a response that another process is producing; the driver knows its own.

        Raises:
            InvalidRequest: One is.
        """
        if self.active.get(response_id) is None and await self.store.status(caller, response_id) in RUNNING:
            raise InvalidRequest("Cannot delete an in-flight response.", param="response_id")

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete a response with its events, snapshot, checkpoint and open approvals.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
            InvalidRequest: It is still running.
        """
        response = await self.retrieve(caller, response_id)
        if response.get("status") in RUNNING:
            raise InvalidRequest("Cannot delete an in-flight response.", param="response_id")
        await self.forget(caller, response_id)
        await self.store.delete(caller, response_id)
        await self.log.delete(caller, response_id)

    async def input_items(self, caller: Caller, response_id: str, page: Page = FIRST_PAGE) -> list[Item]:
        """A page of the input items of a response, including the history before it.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
        """
        await self.check_owner(caller, response_id)
        return await self.store.input_items(caller, response_id, page)


async def _effect(effects: Effects, stop: StopSignals, recovery: Recovery | None, *given: Any, **more: Any) -> Any:
    """Run a side effect once (`Effects.once`), unless another process has the turn.

    A turn that can be resumed is left if the store fails: the model would get the error as the result of its tool.
    """
    try:
        if recovery is not None and not recovery.is_over and await recovery.is_elsewhere():
            raise StoreUnavailable("Another process has taken this turn.")
        return await effects.once(*given, **more)
    except StoreUnavailable:
        if recovery is not None and recovery.may_be_left:
            stop.stop("lost")
        raise
