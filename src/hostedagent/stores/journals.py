"""Journals of background turns: the data that the next process needs to resume a turn.

A journal is found by the response id alone, because a process that resumes a turn has no request. It is written before
the turn starts, at the checkpoints of a workflow and when the run has ended, and is deleted at the end of the turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import Final

from msgspec import Struct

from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.types import Event, Json
from hostedagent.stores.approvals import ApprovalDecision
from hostedagent.stores.base import Key, Store, StoreTooLarge
from hostedagent.stores.checkpoints import WorkflowState
from hostedagent.stores.heads import NEW, Version
from hostedagent.stores.sessions import Snapshot
from hostedagent.stores.values import read_value, write_value

JOURNAL: Final = "recovery"

FORGET_SECONDS: Final = 60.0
"""Seconds that the SDK may take to record the end of a turn."""

logger = logging.getLogger(__name__)

JOURNALS: Final = Scope("recovery")
"""The scope of all journals: the process that resumes a turn does not know whose it is."""


class Ended(Struct, frozen=True):
    """The outcome of a run, until it is saved everywhere."""

    response: Mapping[str, Json]
    snapshot: Snapshot

    def event(self) -> Event | None:
        """The terminal event; none if the client stopped the turn, which the SDK reports."""
        status = self.response["status"]
        return {"type": f"response.{status}", "response": dict(self.response)} if status != "cancelled" else None


class Journal(Struct, frozen=True):
    """The recorded progress of a turn.

    Args:
        is_streamed: Whether its events can be replayed.
        lease: The holder of its conversation: the turn itself, in the process that started it.
        version: The version of its conversation when it began.
        answers: The approvals that its input answers, already marked as answered.
        attempt: The token of the try that marked them.
        said: The ids of the output items at that checkpoint.
        is_over: Whether the turn has ended and only the SDK may not know it.
        owner: The replica that runs the turn, if replicas take over turns.
        request_parts: The number of records that contain the request.
    """

    scope: Scope
    isolation: IsolationKeys
    is_streamed: bool = False
    lease: str | None = None
    answers: tuple[ApprovalDecision, ...] = ()
    checkpoint: WorkflowState | None = None
    said: tuple[str, ...] = ()
    ended: Ended | None = None
    is_over: bool = False
    owner: str = ""
    request_parts: int = 0
    version: Version = NEW
    attempt: str = ""


def _journals_of(caller: Caller) -> Caller:
    return replace(caller, scope=JOURNALS)


class Journals:
    """The journals of turns that outlive their process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, caller: Caller, response_id: str) -> Journal | None:
        """The journal of a turn, from its start until its outcome was reported."""
        stored = await read_value(self._store, _journals_of(caller), Key(JOURNAL, response_id))
        return stored.load(Journal) if stored is not None else None

    async def begin(self, caller: Caller, response_id: str, journal: Journal, request: bytes) -> None:
        """Record the start of a turn; the SDK keeps its request."""
        await self.write(caller, response_id, journal)

    async def holds(self, caller: Caller, response_id: str) -> bool:
        """Whether the turn still belongs to this process; always true for a turn that the SDK resumes."""
        return True

    async def write(self, caller: Caller, response_id: str, journal: Journal) -> None:
        """Store the progress of the turn."""
        await write_value(self._store, _journals_of(caller), Key(JOURNAL, response_id), journal)

    async def write_end(self, caller: Caller, response_id: str, journal: Journal) -> None:
        """Store the outcome of the run, unless it is too large for a record."""
        with suppress(StoreTooLarge):
            await self.write(caller, response_id, journal)

    def forget_later(self, caller: Caller, response_id: str) -> None:
        """Delete the journal of an ended turn, after the SDK has certainly recorded the end."""

        def due() -> None:
            self._timers.discard(timer)
            task = asyncio.get_running_loop().create_task(self._forget(caller, response_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        # The context of the request would keep its body that long.
        timer = asyncio.get_running_loop().call_later(FORGET_SECONDS, due, context=Context())
        self._timers.add(timer)

    def close(self) -> None:
        """Cancel pending deletions during shutdown; the records expire."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    async def _forget(self, caller: Caller, response_id: str) -> None:
        try:
            await self._store.delete(_journals_of(caller), [Key(JOURNAL, response_id)])
        except Exception as error:  # noqa: BLE001 - it expires
            log_failure(logger, f"The journal of {response_id} is left behind", error)
