"""Starts the journals of background turns, and resumes the turns of processes that have ended.

The SDK resumes its turns by itself and reads their response first; the scope of the turn is recovered at that point.
`engine/takeover.py` resumes those of the package's own routes and of doors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from msgspec import Struct

from hostedagent.agents.deduplication import can_be_left_out
from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.conversation.references import resolve_references
from hostedagent.conversation.transcript import stored_by
from hostedagent.engine.active import Resuming
from hostedagent.engine.context import TurnContext
from hostedagent.engine.kept_request import keep
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import SentEvents
from hostedagent.errors import Busy
from hostedagent.identity import Caller
from hostedagent.protocol.content.own_calls import OwnCalls, function_items
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import COUNTED, ENDED
from hostedagent.protocol.stream.interrupted import cut_off
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import rows_of
from hostedagent.stores.heads import NEW
from hostedagent.stores.journals import Journal, Journals
from hostedagent.stores.tokens import Place


class Recoveries(Struct, frozen=True):
    """Creates the recoveries of turns, and resumes turns.

    Args:
        is_on: Whether background turns are resumed.
    """

    journals: Journals
    continuations: Continuations
    store: ResponseStore
    events: SentEvents
    is_on: bool

    async def begin(self, context: TurnContext) -> Recovery | None:
        """Record the start of a turn before its first event is sent. Foreground turns end with their process."""
        request, continuation, body = context.request, context.continuation, context.body
        if not (self.is_on and request.store and request.background):
            return None
        lease = continuation.lease
        journal = Journal(
            request.scope,
            request.isolation,
            is_streamed=request.stream,
            lease=lease.owner if lease is not None else None,
            version=lease.head.version if lease is not None else NEW,
            answers=continuation.answers,
            attempt=continuation.attempt,
        )
        await self.journals.begin(request.caller, request.response_id, journal, keep(request, body) if body else b"")
        return self._recovery(request, journal)

    async def recall(self, platform: Caller, response_id: str) -> Caller | None:
        """Find the owner of a turn and prepare its events; `None` if the owner is unknown.

        Args:
            platform: The platform's identity of the turn, without a scope.
        """
        resuming = self.store.active.open(response_id).resuming = Resuming()
        try:
            journal = await self.journals.find(platform, response_id)
            if journal is None:
                self.store.active.resumed(response_id)
                return None
            caller = replace(platform, scope=journal.scope, isolation=journal.isolation)
            if journal.is_streamed:
                resuming.sent = await self.events.repair(caller, response_id)
            resuming.journal = journal
        except BaseException:
            self.store.active.resumed(response_id)  # It does not start now, and no request must wait for it.
            raise
        return caller

    async def release(self, request: TurnRequest, journal: Journal) -> None:
        """Release what a turn acquired whose response was never stored, so that no client knows it."""
        continuation = await self.continuations.reopen(request, journal)
        with suppress(Busy):  # Another turn has the conversation already.
            await self.continuations.abandon(continuation, request.caller)

    async def give_back(self, request: TurnRequest, journal: Journal) -> None:
        """Release the conversation of a turn that has ended because it cannot be resumed. Its approvals stay used."""
        sessions, conversation = self.continuations.sessions, request.conversation_id
        if conversation is None or journal.lease is None:
            return
        lease = await sessions.take_over(request.caller, conversation, journal.lease, journal.version)
        if lease is not None:
            with suppress(Busy):
                await sessions.release(lease)

    async def resume(
        self, request: TurnRequest, found: Mapping[str, Json]
    ) -> tuple[TurnRequest, Continuation, Recovery]:
        """Resume a turn of an earlier process; raises `Exception` when the continuation cannot be read."""
        caller = request.caller
        turn = self.store.active.open(request.response_id)
        resuming = turn.resuming or Resuming()
        journal, sent = resuming.journal, resuming.sent
        request = await resolve_references(request, self.store)
        items, made, told, place = joined_items(sent.items, found.get("output") or ()), (), (), None
        if found.get("status") not in ENDED:
            place = await self.continuations.sessions.tokens.load(caller, request.response_id)
            items, made, told = divided_items(items, journal, place)
        recovery = self._recovery(request, journal)
        recovery.resume({**found, "id": request.response_id, "output": items}, sent)
        continuation = await self.continuations.reopen(request, journal, made=made)
        continuation.is_lost |= journal is None
        if found.get("status") in COUNTED:
            continuation.is_lost = False  # Its conversation may have gone on since, and its client may know that.
        if journal is not None:
            continuation.checkpoint = journal.checkpoint
        continuation.place, continuation.told = place, told
        stored = await stored_by(self.store, caller, request.response_id, request.previous_response_id)
        continuation.exclude(stored)
        turn.stored_before = stored
        return request, continuation, recovery

    def _recovery(self, request: TurnRequest, journal: Journal | None) -> Recovery:
        sessions = self.continuations.sessions
        return Recovery(self.journals, self.store, sessions, self.events, request.caller, request.response_id, journal)


def joined_items(sent: Mapping[int, Item], stored: Iterable[Item]) -> list[Item]:
    """The items that were sent, in their stored form if there is one."""
    by_id = {item["id"]: item for item in stored}
    if len(sent) < len(by_id):  # The log was on a lost disk, or has expired.
        return list(by_id.values())
    return [by_id.get(sent[index]["id"], sent[index]) for index in sorted(sent)]


def divided_items(
    items: Sequence[Item], journal: Journal | None, place: Place | None
) -> tuple[list[Item], tuple[Item, ...], tuple[Item, ...]]:
    """The items with those marked that count for nothing, those that the agent must know of, and those that count.

    What a model's service says again, once it is found by its token, is the same: what was finished of it counts.
    """
    if journal is not None and journal.ended is not None:
        return list(rows_of(journal.ended.response["output"])), (), ()
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
