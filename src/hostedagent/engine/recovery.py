"""Resumes background turns after a crash: progress is journaled, and the next process continues from the last entry.

A plain agent goes on behind the last result of a tool, a workflow at its last checkpoint, and a run that has ended is
only saved. What was sent behind that point stays in the response, closed and marked: no prompt sees it. The SDK takes
a turn up again by itself, and reads its response first; that is where the scope of the turn is found again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable

from hostedagent.agents.deduplication import can_be_left_out
from hostedagent.agents.pump import Pump, Work
from hostedagent.agents.usage import UsageCount
from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.conversation.history.base import KeepCheckpoint
from hostedagent.conversation.references import resolve_references
from hostedagent.conversation.transcript import stored_by
from hostedagent.engine.active import ActiveTurns, Resuming
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import Sent, SentEvents
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.content.own_calls import OwnCalls, function_items
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.stream.interrupted import cut_off
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import Event, Item, Json, MutableItem
from hostedagent.stores.checkpoints import Checkpoint, OpenRequest, WorkflowState
from hostedagent.stores.journals import Ended, Journal, Journals
from hostedagent.stores.sessions import Sessions, Snapshot
from hostedagent.stores.tokens import Place

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate

BEGIN_SECONDS: Final = 10.0
"""Seconds that a request for a response waits until its turn is resumed."""

logger = logging.getLogger(__name__)

_OVER: Final = ("completed", "failed", "incomplete", "cancelled")


@runtime_checkable
class CheckpointedRun(Protocol):
    """A run that can be resumed in the middle of its turn."""

    def keep_each(self, keep: KeepCheckpoint) -> None:
        """Have every checkpoint of the run kept before the run goes on. Called before the run is pulled."""
        ...


@dataclass(slots=True)
class Recovery:
    """How far one turn has come.

    Args:
        journals: Where that is written.
        store: Where the response is.
        sessions: Where checkpoints of workflows are.
        events: The events that earlier processes sent.
        caller: Whose turn it is.
        response_id: The turn.
        journal: What is written; `None` when it is lost.
        response: The response as the process before left it; `None` when the turn begins here.
        sent: What was sent of it.
    """

    journals: Journals
    store: ResponseStore
    sessions: Sessions
    events: SentEvents
    caller: Caller
    response_id: str
    journal: Journal | None
    response: MutableItem | None = None
    sent: Sent = field(default_factory=Sent)
    _checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])

    @property
    def is_over(self) -> bool:
        """Whether the turn was over already, when its process died."""
        return self.journal is not None and self.journal.is_over

    @property
    def ended(self) -> Ended | None:
        """How the run ended in the process before, when it did."""
        if self.journal is None or self.response is None:
            return None
        if self.journal.ended is not None:
            return self.journal.ended
        status = self.response.get("status")
        if status not in _OVER and not self.is_over:
            return None
        return Ended({**self.response, "status": status if status in _OVER else "cancelled"}, Snapshot())

    @property
    def usage(self) -> Json:
        """What the turn used in the process before."""
        return self.response.get("usage") if self.response is not None else None

    def outcome(self) -> Outcome:
        """What the run came to in the process before."""
        assert self.ended is not None
        response = self.ended.response
        match response["status"]:
            case "completed":
                return Completed()
            case "incomplete":
                return Incomplete(response["incomplete_details"]["reason"])
            case "cancelled":
                return Cancelled("client")
            case _:
                return Failed("server_error", response["error"]["message"])

    def repeats(self, outcome: Outcome) -> Ended | None:
        """How the run ended before, if that is how the turn ends now."""
        ended = self.ended
        return ended if ended is not None and outcome == self.outcome() else None

    def follow(
        self,
        pump: Pump[AgentResponseUpdate],
        run: object,
        response: Mapping[str, Json],
        usage: UsageCount,
    ) -> None:
        """Journal the progress of a run each time that it reaches a place from which it can be resumed."""

        async def keep(data: bytes, requests: Mapping[str, OpenRequest]) -> None:
            await pump.settled(partial(self.checkpointed, data, requests, response, usage))

        def then(update: AgentResponseUpdate) -> Work | None:
            has_results = any(content.type == "function_result" for content in update.contents)
            return partial(self.reached, response, usage) if has_results else None

        if isinstance(run, CheckpointedRun):
            run.keep_each(keep)
        else:
            pump.then = then

    async def announce(self, event: Event) -> bool:
        """Announce to clients that follow the stream that the turn continues; `False` when none saw its beginning."""
        if self.sent.name:
            await self.events.announce(self.sent, event)
        return bool(self.sent.name)

    async def reached(self, response: Mapping[str, Json], usage: UsageCount) -> None:
        """Tools have given their results: they count, and are not run again."""
        try:
            await self.store.checkpoint(_so_far(response, usage))
        except Exception as error:  # noqa: BLE001 - the turn itself does not need it
            log_failure(logger, f"Writing down how far {self.response_id} has come failed", error)

    async def checkpointed(
        self, data: bytes, requests: Mapping[str, OpenRequest], response: Mapping[str, Json], usage: UsageCount
    ) -> None:
        """A workflow has made a checkpoint."""
        if self.journal is None:
            return
        try:
            so_far = _so_far(response, usage)
            await self.store.checkpoint(so_far)
            # The one before stays whole until this one is: a large one is written in parts.
            before = self.journal.checkpoint
            is_first = before is not None and before.checkpoint.response_id.endswith(":0")
            key = f"{self.response_id}:{1 if is_first else 0}"
            saved = await self.sessions.checkpoints.save(self.caller, key, data)
            said = tuple(item["id"] for item in cast("list[Item]", so_far["output"]))
            self.journal = replace(self.journal, checkpoint=WorkflowState(saved, requests), said=said)
            await self.journals.write(self.caller, self.response_id, self.journal)
            self._checkpoints.append(saved)
        except Exception as error:  # noqa: BLE001 - the turn itself does not need it
            log_failure(logger, f"Writing down how far {self.response_id} has come failed", error)

    async def run_ended(self, response: Mapping[str, Json], snapshot: Snapshot) -> None:
        """The run has ended, and what is saved of it from here on is the same in any process."""
        if self.journal is None:
            return
        self.journal = replace(self.journal, ended=Ended(_plain(response), snapshot))
        try:
            await self.journals.write_end(self.caller, self.response_id, self.journal)
        except Exception as error:  # noqa: BLE001 - the turn itself does not need it
            log_failure(logger, f"Writing down how {self.response_id} ended failed", error)

    async def over(self) -> None:
        """The turn is over, and everybody was told but the SDK, which may yet be kept from taking note of it."""
        if self.journal is None:
            return
        left = self.journal.checkpoint
        checkpoints = self._checkpoints or ([left.checkpoint] if left is not None else [])
        try:
            if not self.is_over:
                self.journal = replace(self.journal, is_over=True, checkpoint=None, said=(), ended=None)
                await self.journals.write(self.caller, self.response_id, self.journal)
            if self.response is not None:
                await self.sessions.tokens.delete(self.caller, self.response_id)
            for checkpoint in checkpoints[-2:]:
                await self.sessions.checkpoints.delete(self.caller, checkpoint)
        except Exception as error:  # noqa: BLE001 - when it is resumed, it ends in the same way
            log_failure(logger, f"Writing down that {self.response_id} is over failed", error)
        self.journals.forget_later(self.caller, self.response_id)


class Recoveries:
    """Begins the recoveries of turns, and takes turns up again.

    Args:
        journals: Where it is written how far turns have come.
        continuations: Finds out again what a turn continues.
        store: The response store.
        active: The responses that this process is producing.
        events: The events that earlier processes sent.
        is_on: Whether background turns are resumed.
    """

    def __init__(
        self,
        journals: Journals,
        continuations: Continuations,
        store: ResponseStore,
        active: ActiveTurns,
        events: SentEvents,
        *,
        is_on: bool,
    ) -> None:
        self._journals = journals
        self._continuations = continuations
        self._store = store
        self._active = active
        self._events = events
        self._is_on = is_on

    async def begin(self, request: TurnRequest, continuation: Continuation) -> Recovery | None:
        """Write down that a turn begins, before anybody is told. A turn in the foreground ends with its process."""
        if not (self._is_on and request.store and request.background):
            return None
        journal = Journal(
            request.scope,
            request.isolation,
            is_streamed=request.stream,
            lease=continuation.lease.owner if continuation.lease is not None else None,
            answers=continuation.answers,
        )
        await self._journals.write(request.caller, request.response_id, journal)
        return self._recovery(request, journal)

    async def goes_on(self, caller: Caller, response_id: str) -> bool:
        """Whether a turn will end, although no process may have it now."""
        return await self._journals.find(caller, response_id) is not None

    def began(self, response_id: str) -> None:
        """The turn runs again, or will not: nobody has to wait for it."""
        turn = self._active.get(response_id)
        if turn is not None and turn.resuming is not None:
            turn.resuming.begun.set()
            turn.resuming = None
            self._active.close(response_id)

    async def beginning(self, response_id: str) -> None:
        """Wait while the turn is being resumed: the SDK has it then, and does not show it yet."""
        turn = self._active.get(response_id)
        if turn is not None and turn.resuming is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await turn.resuming.begun.wait()

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the events of a turn; the response is gone."""
        try:
            await self._events.discard(response_id, caller.platform_user)
        except Exception as error:  # noqa: BLE001 - the response itself is gone
            log_failure(logger, f"The events of {response_id} are left behind", error)

    async def recall(self, platform: Caller, response_id: str) -> Caller | None:
        """Find whose a turn was, and prepare its events; `None` when that is not known.

        Args:
            platform: What the platform says of the turn, without a scope.
            response_id: The turn.
        """
        resuming = self._active.open(response_id).resuming = Resuming()
        try:
            journal = await self._journals.find(platform, response_id)
            if journal is None:
                self.began(response_id)
                return None
            if journal.is_streamed:
                resuming.sent = await self._events.repair(response_id, platform.platform_user)
            resuming.journal = journal
        except BaseException:
            self.began(response_id)  # It does not begin now: a request for the response must not wait for it.
            raise
        return replace(platform, scope=journal.scope, isolation=journal.isolation)

    async def resume(
        self, request: TurnRequest, found: Mapping[str, Json]
    ) -> tuple[TurnRequest, Continuation, Recovery]:
        """Resume a turn of an earlier process.

        Args:
            request: The turn.
            found: Its response as it is stored.

        Raises:
            Exception: What it continues cannot be read.
        """
        caller = request.caller
        turn = self._active.open(request.response_id)
        resuming = turn.resuming or Resuming()
        journal, sent = resuming.journal, resuming.sent
        request = await resolve_references(request, self._store, caller)
        items, made, told, place = _joined(sent.items, found.get("output") or ()), (), (), None
        if found.get("status") not in _OVER:
            place = await self._continuations.sessions.tokens.load(caller, request.response_id)
            items, made, told = _divide(items, journal, place)
        recovery = self._recovery(request, journal)
        recovery.response = {**found, "id": request.response_id, "output": items}
        recovery.sent = sent
        answers = journal.answers if journal is not None else ()
        continuation = await self._continuations.reopen(
            request, caller, lease=journal.lease if journal is not None else None, answers=answers, made=made
        )
        continuation.is_lost |= journal is None
        if journal is not None:
            continuation.checkpoint = journal.checkpoint
        continuation.place, continuation.told = place, told
        stored = await stored_by(self._store, caller, request.response_id, request.previous_response_id)
        continuation.exclude(stored)
        turn.stored_before = stored
        return request, continuation, recovery

    def _recovery(self, request: TurnRequest, journal: Journal | None) -> Recovery:
        sessions = self._continuations.sessions
        return Recovery(
            self._journals, self._store, sessions, self._events, request.caller, request.response_id, journal
        )


def open_response(request: TurnRequest, recovery: Recovery | None) -> ResponseBuilder:
    """The builder of a turn's response, with the output of an earlier process."""
    if recovery is not None and recovery.response is not None:
        return ResponseBuilder.resumed(recovery.response)
    return ResponseBuilder(request.response_id, request.echo())


def _so_far(response: Mapping[str, Json], usage: UsageCount) -> dict[str, Json]:
    output = [item for item in cast("Sequence[Item | None]", response["output"]) if item is not None]
    return {**response, "output": output, "usage": usage.wire()}


def _plain(response: Mapping[str, Json]) -> dict[str, Json]:
    """A response without the fields that have no value."""
    return {name: value for name, value in response.items() if value is not None}


def _joined(sent: Mapping[int, Item], stored: Iterable[Item]) -> list[Item]:
    """The items that were sent, in the form in which they were stored where they were."""
    by_id = {item["id"]: item for item in stored}
    if len(sent) < len(by_id):  # The log was on a disk that is gone, or too old.
        return list(by_id.values())
    return [by_id.get(sent[index]["id"], sent[index]) for index in sorted(sent)]


def _divide(
    items: Sequence[Item], journal: Journal | None, place: Place | None
) -> tuple[list[Item], tuple[Item, ...], tuple[Item, ...]]:
    """The items with those marked that count for nothing, those that the agent must know of, and those that count.

    What a model's service says again, once it is found by its token, is the same: what was finished of it counts.
    """
    if journal is not None and journal.ended is not None:
        return list(cast("Sequence[Item]", journal.ended.response["output"])), (), ()
    if journal is not None and journal.checkpoint is not None:
        return [item if item["id"] in journal.said else cut_off(item) for item in items], (), ()
    comes_again = place is not None and not place.is_answered(function_items(items))
    calls = place.calls if place is not None and comes_again else ()
    results = (
        number + 1
        for number, item in OwnCalls().items(items)
        if str(item.get("type")).endswith("_call_output") and item.get("call_id") not in calls
    )
    last = max(results, default=0)
    made, rest = items[:last], items[last:]
    told = [item for item in rest if comes_again and can_be_left_out(item)]
    marked = [*made, *(item if item in told else cut_off(item) for item in rest)]
    return marked, tuple(function_items(made)), tuple(function_items(told))
