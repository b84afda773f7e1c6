"""Marks of running background responses, so that a response whose process died does not stay in progress forever.

A turn of a conversation has a lease. Other turns have a mark with the name of their process, which expires unless it is
renewed, and is removed when the turn has ended. Only background responses need it: others end with their caller.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Failed
from hostedagent.stores.base import Etag, Key, Store, StoreConflict, StoreError, Value, Write
from hostedagent.stores.batch import Part, Rows
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.leases import CONVERSATION, LeaseState, read_head
from hostedagent.stores.values import write_value

RUNNING: Final = "running"

DIED: Final = Failed("server_error", "The server that made this response has ended. Send the request again.")

logger = logging.getLogger(__name__)


FENCE: Final = "fenced:"
"""The owner of a mark or of a lease whose process was given up: the turn must not be stored any more."""

_GIVEN_UP: Final = "The process of the turn was given up."


class Running:
    """The marks of the responses that run in the background.

    Args:
        settings: How long a mark is valid, and which processes have ended.
    """

    def __init__(self, store: Store, settings: LeaseSettings) -> None:
        self._store = store
        self._settings = settings
        self._renewals: dict[str, asyncio.Task[None]] = {}
        self._marks: dict[str, _Mark] = {}

    async def begin(self, caller: Caller, response_id: str) -> None:
        """Mark a response before its caller receives it. It runs unmarked if the store fails."""
        self._marks[response_id] = mark = _Mark(caller)
        await self._write(response_id, mark)
        self._renewals[response_id] = asyncio.create_task(self._renew(response_id, mark), name="hostedagent-running")

    async def ensure_valid(self, response_id: str) -> None:
        """Check that a marked response was not given up, before its outcome is stored.

        Raises:
            Conflict: It was given up: readers already saw it as failed.
        """
        mark = self._marks.get(response_id)
        if mark is None or mark.etag is None:
            return
        if mark.state == "held" and self._settings.is_due(mark.expires_at):
            await self._write(response_id, mark)
        if mark.state == "lost":
            raise Conflict(_GIVEN_UP)

    async def ending(self, response_id: str) -> Part:
        """The part of a batch that removes the mark, unless the response was given up."""
        await self._stop_renewing(response_id)
        mark = self._marks.get(response_id)
        return _Removal(self, response_id, mark) if mark is not None else Rows([])

    def is_marked(self, response_id: str) -> bool:
        """Whether the response has a mark of this process, or is getting one."""
        return response_id in self._marks

    async def end(self, caller: Caller, response_id: str) -> None:
        """Remove the mark, once the final response is stored."""
        await self._stop_renewing(response_id)
        if self._marks.pop(response_id, None) is None:
            return
        try:
            await self._store.delete(caller, [Key(RUNNING, response_id)])
        except Exception as error:  # noqa: BLE001 - it goes by itself
            log_failure(logger, f"The mark of {response_id} is left behind", error)

    async def leave(self, response_id: str) -> None:
        """Keep the mark as it is: the process that resumes the turn renews or removes it."""
        await self._stop_renewing(response_id)
        self.forget(response_id)

    def forget(self, response_id: str) -> None:
        """The mark is gone."""
        self._marks.pop(response_id, None)

    async def has(self, caller: Caller, response_id: str, conversation_id: str | None) -> bool:
        """Whether a live process runs the response, or any turn of its conversation."""
        head, _ = await read_head(self._store, caller, _key(response_id, conversation_id))
        return await self._settings.is_held(head)

    async def process(self) -> str:
        """The name of this process; `""` while it has none."""
        try:
            return await self._settings.liveness.name()
        except StoreError:
            return ""

    async def is_elsewhere(self, process: str) -> bool:
        """Whether a process of that name lives, and is not this one."""
        if not process or process == await self.process():
            return False
        return not await self._settings.liveness.is_dead(process)

    async def give_up(self, caller: Caller, response_id: str, conversation_id: str | None) -> bool:
        """Prevent the process of a response from storing an outcome; returns whether that succeeded."""
        key = _key(response_id, conversation_id)
        head, etag = await read_head(self._store, caller, key)
        if head.owner is not None and head.owner.startswith(FENCE):
            return True
        if await self._settings.is_held(head):
            return False
        if conversation_id is not None and head.owner is None:
            return True  # Its turn has let go of it, or never had it.
        fenced = replace(head, owner=f"{FENCE}{secrets.token_hex(8)}", expires_at=0.0)
        try:
            await write_value(self._store, caller, key, fenced, expect=etag)
        except StoreConflict:
            return False
        return True

    def close(self) -> None:
        """Stop renewing during shutdown; the marks expire."""
        for renewal in self._renewals.values():
            renewal.cancel()
        self._renewals.clear()

    async def check(self, response_id: str, mark: _Mark) -> None:
        """See how the mark is stored now; raises `Conflict` when somebody has given up the response."""
        head, mark.etag = await read_head(self._store, mark.caller, Key(RUNNING, response_id))
        if head.owner is not None and head.owner.startswith(FENCE):
            mark.state = "lost"
            raise Conflict(_GIVEN_UP)

    async def _stop_renewing(self, response_id: str) -> None:
        if (renewal := self._renewals.pop(response_id, None)) is not None:
            renewal.cancel()
            await asyncio.wait((renewal,))

    async def _renew(self, response_id: str, mark: _Mark) -> None:
        while mark.state == "held":
            await self._settings.sleep(self._settings.renew_every)
            await self._write(response_id, mark)

    async def _write(self, response_id: str, mark: _Mark) -> None:
        key, expires_at = Key(RUNNING, response_id), self._settings.expiry()
        try:
            value: Value = {"owner": await self._settings.liveness.name(), "expires_at": expires_at}
            try:
                mark.etag = await write_value(self._store, mark.caller, key, value, expect=mark.etag)
            except StoreConflict:
                await self.check(response_id, mark)  # It may be our own write whose answer was lost.
                mark.etag = await write_value(self._store, mark.caller, key, value, expect=mark.etag)
            mark.expires_at = expires_at
        except Conflict:
            return
        except Exception as error:  # noqa: BLE001 - the turn matters more; tried again
            log_failure(logger, f"Marking {response_id} as running failed", error)


class _Mark(Struct):
    """A mark of this process.

    Args:
        etag: The etag that the next write must expect; `None` before the first.
        expires_at: When it does, in seconds since the epoch.
        state: Whether it is lost, because somebody has given the response up.
    """

    caller: Caller
    etag: Etag | None = None
    expires_at: float = 0.0
    state: LeaseState = "held"


class _Removal(Struct, frozen=True):
    """The part of a batch that takes a mark away."""

    running: Running
    response_id: str
    mark: _Mark

    async def writes(self, *, is_again: bool) -> Sequence[Write]:
        if is_again:
            await self.running.check(self.response_id, self.mark)
        return [Write(Key(RUNNING, self.response_id), None, self.mark.etag)]

    def written(self, etags: Sequence[Etag]) -> None:
        self.running.forget(self.response_id)


def _key(response_id: str, conversation_id: str | None) -> Key:
    return Key(RUNNING, response_id) if conversation_id is None else Key(CONVERSATION, conversation_id)
