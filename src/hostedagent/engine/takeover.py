"""Takes over the background turns of replicas that have ended, at startup and while this replica runs.

A replica that was itself declared dead stops its turns without storing anything, and joins again. Turns of this replica
that could not go on, because its store was away, are resumed in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from hostedagent.engine.active import Resuming
from hostedagent.engine.kept_request import restore
from hostedagent.errors import Conflict
from hostedagent.failures import error_object
from hostedagent.identity import Caller, RequestContext, enter_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import StoreError, StoreNotFound
from hostedagent.stores.journals import Journal
from hostedagent.stores.poller import Poller
from hostedagent.stores.recent import Recent
from hostedagent.stores.running import DIED

if TYPE_CHECKING:
    from hostedagent.engine.recorded import RecordedResponses

WATCH_SECONDS: Final = 0.5
"""Seconds between checks of the other replicas."""

MOST_TRIES: Final = 20
"""Number of times that a turn is resumed in one process because its store failed, before it fails."""

_REMEMBERED: Final = 1_000

logger = logging.getLogger(__name__)


class Takeover:
    """Resumes the turns of other replicas."""

    def __init__(self, responses: RecordedResponses, turns: BackgroundTurns) -> None:
        self._responses = responses
        self._turns = turns
        self._pending: dict[str, None] = {}
        self._tries: Recent[str, int] = Recent(_REMEMBERED)
        self._poller = Poller(self._look, seconds=WATCH_SECONDS, wanted="background turns of processes that have ended")
        self._leaving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Join, take over abandoned turns, and watch the other replicas from then on."""
        enter_context(RequestContext(Caller(), is_request=False))
        await self._poller.look()
        self._responses.engine.services.shutdown.call_when_over(self._hand_on)
        self._poller.open()

    async def aclose(self) -> None:
        """Leave running turns to the other replicas, or to the next process."""
        await self._poller.aclose()
        self._responses.engine.services.shutdown.forget(self._hand_on)
        await (self._leaving or self._leave())

    def _hand_on(self) -> None:
        """Hand over the turns at the deadline of the shutdown, not when the last connection has closed."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name="hostedagent-leave")

    async def _leave(self) -> None:
        await self._responses.ended()
        try:
            await self._turns.leave()
        except StoreError as error:
            log_failure(logger, "Leaving turns to other processes failed; they find that this one has ended", error)

    def again(self, response_id: str) -> None:
        """Resume a turn that does not run any more and has not ended, unless another replica has it."""
        self._pending[response_id] = None

    async def _look(self) -> None:
        """Join or check the replicas, and take over the turns of those that have ended."""
        try:
            if self._turns.has_joined:
                await self._turns.check()
            elif self._leaving is None:
                await self._turns.join()
            await self._take_all()
        except Conflict:
            if self._leaving is not None:
                return
            logger.warning("This process was cut off, and another one found it dead and has its background turns.")
            self._stop_all()

    def _stop_all(self) -> None:
        """Stop the turns that another replica has taken over."""
        self._pending.clear()
        for turn in self._responses.engine.active.running():
            if turn.recovery is not None and turn.stop is not None:
                turn.recovery.is_lost = True
                turn.stop.stop("lost")

    async def _take_all(self) -> None:
        if self._responses.engine.services.shutdown.has_begun:
            return
        # A dead replica lists its turns until all of them are taken: those that were taken here may run.
        orphans = await self._turns.orphans()
        found = [turn for turn in (*self._pending, *orphans) if not self._is_here(turn)]
        if not found:
            return
        random.shuffle(found)  # Several replicas find the same turns and share them.
        for response_id in dict.fromkeys(found):
            self._pending[response_id] = None  # First: it may be taken here although the store does not answer.
            taken = await self._turns.take(response_id)
            if taken is not None and not self._is_here(response_id):
                await self._resume(response_id, *taken)
            self._pending.pop(response_id, None)
        await self._turns.clear()

    def _is_here(self, response_id: str) -> bool:
        """Whether a turn runs in this process, or is being begun from the queue, where its former process put it."""
        return response_id in self._responses.running or response_id in self._responses.beginning

    async def _resume(self, response_id: str, journal: Journal, request: bytes) -> None:
        """Resume one turn; raises `StoreError` when a store is not available; resuming is tried again."""
        engine, recoveries = self._responses.engine, self._responses.recoveries
        kept: dict[str, Json] = decode(request) if request else {}
        caller = await recoveries.recall(Caller(platform_user=kept.get("platform_user")), response_id)
        turn: TurnRequest | None = None
        try:
            if caller is None or not kept:
                await self._turns.end(response_id)
                return
            enter_context(RequestContext(caller))
            turn = restore(kept, caller, response_id, engine.options.caller)
            tries = self._tries[response_id] = self._tries.get(response_id, 0) + 1
            if tries > MOST_TRIES:
                raise RuntimeError(f"The store failed {MOST_TRIES} times while the turn ran.")
            found = await self._begun(caller, response_id)
            if not await self._turns.holds(caller, response_id):
                return  # Another process has begun it from the queue.
            if found is None:
                await self._turns.end(response_id)  # First: another process may begin it once it is free.
                await recoveries.release(turn, journal)
                return
            active = engine.active.open(response_id)
            sent = (active.resuming or Resuming()).sent
            await self._responses.resume(turn, found, sent)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one turn that cannot be resumed must not block the others
            log_failure(logger, f"The background turn {response_id} cannot be resumed", error)
            if caller is not None and not await engine.store.forbid(caller, response_id):
                await engine.end(caller, response_id, {"status": "failed", "error": error_object(DIED)})
            if turn is not None:
                await recoveries.give_back(turn, journal)
            await self._turns.end(response_id)
        finally:
            engine.active.resumed(response_id)

    async def _begun(self, caller: Caller, response_id: str) -> dict[str, Json] | None:
        """The response of a turn; `None` if it has not begun. Then its former replica cannot begin it any more."""
        store = self._responses.engine.store
        if await store.take_queued(caller, response_id):
            return None
        try:
            return await store.get(caller, response_id)
        except StoreNotFound:
            return None
