"""The response store of a host: a repository with the guarantees that running turns and conversations need.

It stores the outcome of a turn before the caller receives it, reports responses whose process died as failed, and knows
which ones are still running.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hostedagent.engine.active import ActiveTurn, ActiveTurns
from hostedagent.engine.sent_events import SentEvents
from hostedagent.errors import Conflict
from hostedagent.failures import error_object
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.statuses import COUNTED, ENDED, QUEUED, RUNNING
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import FIRST_PAGE, Page, ResponseRepository, Store, StoreConflict, StoreNotFound
from hostedagent.stores.batch import Part, is_transactional
from hostedagent.stores.instrumentation import TimedStore
from hostedagent.stores.journals import Journals
from hostedagent.stores.members import conversation_of
from hostedagent.stores.recent import Recent
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.running import DIED, Running

logger = logging.getLogger(__name__)

MAX_OWNERS: Final = 4_000
"""Maximum of response ids remembered with their owners."""


class ResponseStore:
    """A `ResponseRepository` that knows which responses are running.

    Args:
        running: The marks of running background turns; without it, one whose process died stays in progress.
        journals: The turns that are resumed after a crash; `None` if none are.
        logs: The logs that may contain events of their responses.
    """

    def __init__(
        self,
        repository: ResponseRepository,
        *,
        running: Running | None = None,
        state: Store | None = None,
        journals: Journals | None = None,
        logs: Sequence[SentEvents] = (),
    ) -> None:
        self.repository = repository
        self._stored = repository if isinstance(repository, StoredResponses) else None
        self._running = running
        self._together = self._stored if self._stored is not None and _is_one(self._stored, state) else None
        self.active = ActiveTurns()
        self._owners: Recent[str, str] = Recent(MAX_OWNERS)
        self._ended: Recent[str, str] = Recent(MAX_OWNERS)
        self._journals = journals
        self._logs = logs

    @property
    def has_transactions(self) -> bool:
        """Whether a response and its state can be stored in one write."""
        return self._together is not None

    def is_stored(self, response_id: str) -> bool:
        """Whether a response of this process is stored, so that `commit` stores its outcome."""
        turn = self.active.get(response_id)
        return turn is not None and turn.created is not None

    async def commit(self, response: Mapping[str, Json], parts: Sequence[Part] = ()) -> None:
        """Store the final response before it is reported. The SDK's later write of the same is skipped.

        Args:
            parts: Further records to store in the same write, if the store has transactions.

        Raises:
            StoreError: It could not be stored.
            Conflict: Its process was stopped for so long that readers already saw it as failed.
        """
        turn = self.active.get(response["id"])
        if turn is None or turn.created is None:
            return  # Not a stored response, or its first write failed, which the SDK reports.
        if self._running is not None and response["status"] in COUNTED:
            await self._running.ensure_valid(response["id"])
        mark = [await self._running.ending(response["id"])] if self._running is not None and self._together else []
        await self._replace(turn, turn.caller, _whole(turn, response), [*parts, *mark] if self._together else ())
        turn.committed = self._ended[response["id"]] = str(response["status"])

    async def _replace(
        self, turn: ActiveTurn | None, caller: Caller, response: Mapping[str, Json], parts: Sequence[Part] = ()
    ) -> None:
        """Replace a response. Only the process that completed it can still fail it; another one changes no end."""
        if self._stored is None:
            await self.repository.update(caller, response)
            return
        is_own = turn is not None and turn.may_have_completed
        if turn is not None:
            turn.may_have_completed = is_own or response["status"] in COUNTED
        try:
            await self._stored.update(caller, response, parts, is_own=is_own)
        except (Conflict, StoreConflict):  # Nothing was stored.
            if turn is not None:
                turn.may_have_completed = is_own
            raise

    async def checkpoint(self, response: Mapping[str, Json]) -> None:
        """Store the progress of a response."""
        turn = self.active.get(response["id"])
        if turn is not None and turn.created is not None and turn.committed is None:
            await self.repository.update(turn.caller, _whole(turn, response))

    async def owns(self, caller: Caller, response_id: str) -> bool:
        """Whether a response exists, is visible, and belongs to the caller's scope."""
        is_own = await self._owns(caller, response_id)
        if is_own:
            await self.active.until_resumed(response_id)
        return is_own

    async def _owns(self, caller: Caller, response_id: str) -> bool:
        owner = self._owners.get(response_id)
        if owner is not None:
            return owner == caller.scope.key()
        try:
            await self.repository.get(caller, response_id)
        except StoreNotFound:
            return False
        return True

    async def forbid(self, caller: Caller, response_id: str) -> bool:
        """Make sure that a response of an ended request is not created or begun any more; `False` if it exists."""
        if await self._owns(caller, response_id):
            return False
        return self._stored is None or await self._stored.forbid(caller, response_id)

    async def existed(self, caller: Caller, response_id: str) -> bool:
        """Whether a response exists, or existed until it was deleted, as far as the store can tell."""
        return await self.owns(caller, response_id) or await self.was_deleted(caller, response_id)

    async def was_deleted(self, caller: Caller, response_id: str) -> bool:
        """Whether a response was deleted, as far as the store can tell."""
        return self._stored is not None and await self._stored.was_deleted(caller, response_id)

    async def was_created(self, caller: Caller, response_id: str) -> bool | None:
        """Whether a response was created, even if it was deleted since; `None` if it may still be created.

        Where the store cannot tell, it was.
        """
        return self._stored is None or await self._stored.was_created(caller, response_id)

    async def take_queued(self, caller: Caller, response_id: str) -> bool:
        """Take a response that waits in the queue; `False` if it does not, or is not stored and never will be.

        No other process begins it then, unless it takes it after this one.
        """
        return self._stored is not None and await self._stored.take_queued(caller, response_id)

    def claim(self, response_id: str) -> bool:
        """Reserve an id that the platform chose until `release_claim`; `False` if it is or was in use."""
        if response_id in self._owners or self.active.get(response_id) is not None:
            return False
        self.active.open(response_id).is_claimed = True
        return True

    def release_claim(self, response_id: str) -> None:
        """Release an id, because its response exists now or never will."""
        self.active.open(response_id).is_claimed = False
        self.active.close(response_id)

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
    ) -> None:
        """Store a new response and its input."""
        response_id = str(response["id"])
        items = list(input_items)
        turn = self.active.open(response_id)
        turn.caller, turn.created, turn.item_ids, turn.committed = caller, dict(response), _ids_of(items), None
        turn.may_have_completed = False
        if turn.stored_before is not None:
            await self._continue(response_id, turn)
        marking = self._marking(turn, response_id)
        try:
            try:
                if self._together is None or response.get("background"):
                    await self.repository.create(caller, response, items, history_ids)
                else:
                    process = await self._running.process() if self._running is not None else ""
                    await self._together.create(caller, response, items, history_ids, process=process)
            finally:
                if marking is not None:
                    await asyncio.wait((marking,))
        except BaseException as error:
            is_new = not isinstance(error, StoreConflict)  # The SDK continues an existing response.
            if turn.refuse is not None and is_new and isinstance(error, Exception):
                await turn.refuse()  # Still active: items that may have been stored must stay out of later prompts.
            await self._settle(response_id)
            raise
        self._own(response_id, caller)
        if response.get("status") not in RUNNING:
            self._ended[response_id] = str(response["status"])
            await self._settle(response_id)

    async def _continue(self, response_id: str, turn: ActiveTurn) -> None:
        """Mark a response of an earlier process as running, and report that it exists."""
        turn.item_ids, turn.stored_before, turn.is_resumed = turn.stored_before or (), None, True
        self._own(response_id, turn.caller)
        if self._running is not None:
            await self._running.begin(turn.caller, response_id)
        self.active.resumed(response_id)
        raise StoreConflict(f"Response '{response_id}' continues from an earlier process.")

    async def update(self, caller: Caller, response: Mapping[str, Json]) -> None:
        """Replace the stored response; its last write is final."""
        turn = self.active.get(response["id"])
        if turn is not None and turn.created is None:
            turn = None
        try:
            if turn is None or turn.committed != response.get("status"):
                await self._replace(turn, turn.caller if turn is not None else caller, response)
            if response.get("status") in ENDED:
                self._ended[str(response["id"])] = response["status"]
        finally:
            if response.get("status") not in RUNNING:
                await self._settle(response["id"])

    def settle_committed(self, response: Mapping[str, Json]) -> bool:
        """Complete a stored response without a mark: like `update`, but without I/O."""
        response_id = response["id"]
        turn = self.active.get(response_id)
        if turn is None or turn.created is None or turn.committed != response.get("status"):
            return False
        if self._running is not None and self._running.is_marked(response_id):
            return False
        turn.created = None
        self.active.close(response_id)
        return True

    async def leave(self, response_id: str) -> None:
        """Forget a response whose turn is resumed, by another process or later: its outcome is not stored now."""
        turn = self.active.get(response_id)
        if turn is not None and turn.created is not None:
            turn.created = None
            self.active.close(response_id)
        if self._running is not None:
            await self._running.leave(response_id)

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The stored response; it is failed if its process ended before the turn."""
        response = await self.repository.get(caller, response_id)
        if self._running is None or self.is_stored(response_id) or response.get("status") not in RUNNING:
            return response
        if response.get("status") == QUEUED:
            return response  # No process runs it yet.
        is_background = bool(response.get("background"))
        if await self._running.has(caller, response_id, conversation_of(response) if is_background else None):
            return response
        process = ""
        if not is_background and self._together is not None:
            process = await self._together.process(caller, response_id)
            if await self._running.is_elsewhere(process):
                return response
        if is_background and await self.is_resumed(caller, response_id):
            return response
        # The outcome is stored before the mark and the journal are removed, which may have just happened.
        response = await self.repository.get(caller, response_id)
        if response.get("status") not in RUNNING:
            return response
        failed = {**dict(response), "status": "failed", "error": error_object(DIED)}
        if is_background and not await self._running.give_up(caller, response_id, conversation_of(response)):
            return response
        return await self._give_up(caller, failed) if is_background or process else failed

    async def is_resumed(self, caller: Caller, response_id: str) -> bool:
        """Whether a turn will still end, or send its end, although no process may be running it."""
        return self._journals is not None and await self._journals.find(caller, response_id) is not None

    async def is_left(self, caller: Caller, response_id: str) -> bool:
        """Whether a replica still has something to store of a turn, even if its response has ended."""
        journal = await self._journals.find(caller, response_id) if self._journals is not None else None
        return journal is not None and bool(journal.owner)

    async def _give_up(self, caller: Caller, failed: dict[str, Json]) -> dict[str, Json]:
        """Store an end before a reader sees it, because a suspended process may still continue the response."""
        try:
            await self._replace(None, caller, failed)
        except StoreConflict:
            return await self.repository.get(caller, failed["id"])
        return failed

    async def end(self, caller: Caller, response: dict[str, Json]) -> dict[str, Json]:
        """Store the end of a response that no process runs, unless it has ended; returns the response as it is then."""
        try:
            return await self._give_up(caller, response)
        finally:
            await self._settle(response["id"])

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete the response."""
        await self.repository.delete(caller, response_id)
        if self._journals is None:
            return
        try:
            for log in self._logs:
                await log.discard(caller, response_id)
        except Exception as error:  # noqa: BLE001 - the response itself is gone
            log_failure(logger, f"The events of {response_id} are left behind", error)

    async def input_items(self, caller: Caller, response_id: str, page: Page = FIRST_PAGE) -> list[Item]:
        """A page of the input items of a response."""
        return await self.repository.input_items(caller, response_id, page)

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, `None` for each that does not exist."""
        return await self.repository.items(caller, ids)

    async def status(self, caller: Caller, response_id: str) -> str | None:
        """The status of a response, in whichever process it runs; `None` if the caller has no such response."""
        turn = self.active.get(response_id)
        if turn is not None and turn.created is not None and turn.caller.scope == caller.scope:
            if turn.committed is not None:
                return turn.committed
            if not turn.is_resumed:  # Readers may see its end in the store before this process knows that it is there.
                return await self._stored_status(caller, response_id) or "in_progress"
        if self._owners.get(response_id) == caller.scope.key() and (ended := self._ended.get(response_id)):
            return ended
        return await self._stored_status(caller, response_id)

    async def _stored_status(self, caller: Caller, response_id: str) -> str | None:
        if self._together is not None:
            status = await self._together.status(caller, response_id)
            if status not in RUNNING:
                return status
        try:
            return (await self.get(caller, response_id)).get("status")
        except StoreNotFound:
            return None

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items, oldest first."""
        return await self.repository.history_ids(caller, previous_response_id, conversation_id, limit)

    def _own(self, response_id: str, caller: Caller) -> None:
        self._owners[response_id] = sys.intern(caller.scope.key())

    def _marking(self, turn: ActiveTurn, response_id: str) -> asyncio.Task[None] | None:
        """Mark a response as running while it is being stored, if it needs a mark."""
        created = turn.created or {}
        is_kept = turn.context is not None and turn.context.is_kept
        if self._running is None or not (is_kept or (created.get("background") and conversation_of(created) is None)):
            return None
        return asyncio.create_task(self._running.begin(turn.caller, response_id))

    async def _settle(self, response_id: str) -> None:
        turn = self.active.get(response_id)
        if turn is None or turn.created is None:
            return
        turn.created = None
        self.active.close(response_id)
        if self._running is not None:
            await self._running.end(turn.caller, response_id)


def _is_one(responses: StoredResponses, state: Store | None) -> bool:
    """Whether responses and state are in one store with transactions."""
    if state is None or not is_transactional(state):
        return False
    return responses.store is (state.inner if isinstance(state, TimedStore) else state)


def _ids_of(items: Iterable[Item]) -> tuple[str, ...]:
    """The ids of the items that have one."""
    return tuple(item_id for item in items if isinstance(item_id := item.get("id"), str))


def _whole(turn: ActiveTurn, response: Mapping[str, Json]) -> dict[str, Json]:
    return {**(turn.created or {}), **{key: value for key, value in response.items() if value is not None}}
