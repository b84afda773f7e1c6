"""Which responses run in the background, so that one whose process died does not stay in progress for ever.

A turn of a conversation has its lease. Others have a mark with the name of their process, which stands for a while,
is renewed, and goes when the turn has ended. Only background responses need it: others end when their caller leaves.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Failed
from hostedagent.stores.base import Key, Store, Value
from hostedagent.stores.leases import CONVERSATION, Head, Terms
from hostedagent.stores.values import read_value, write_value

RUNNING: Final = "running"

DIED: Final = Failed("server_error", "The server that made this response has ended. Send the request again.")

logger = logging.getLogger(__name__)


class Running:
    """The marks of the responses that run in the background.

    Args:
        store: Where the marks are.
        terms: How long a mark stands, and which processes have ended.
    """

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def begin(self, caller: Caller, response_id: str) -> None:
        """Mark a response before its caller learns of it. Without a store it runs unmarked."""
        await self._write(caller, response_id)
        self._renewals[response_id] = asyncio.create_task(self._renew(caller, response_id), name="hostedagent-running")

    async def end(self, caller: Caller, response_id: str) -> None:
        """Take the mark away, once how the response ended is stored."""
        if (renewal := self._renewals.pop(response_id, None)) is None:
            return
        renewal.cancel()
        await asyncio.wait((renewal,))
        try:
            await self._store.delete(caller, [Key(RUNNING, response_id)])
        except Exception as error:  # noqa: BLE001 - it goes by itself
            log_failure(logger, f"The mark of {response_id} is left behind", error)

    async def has(self, caller: Caller, response_id: str, conversation_id: str | None) -> bool:
        """Whether a process that lives has the response, or any turn of its conversation."""
        key = Key(RUNNING, response_id) if conversation_id is None else Key(CONVERSATION, conversation_id)
        stored = await read_value(self._store, caller, key)
        head = Head.load(stored.value) if stored is not None else Head()
        if head.owner is None or head.expires_at <= self._terms.clock():
            return False
        return not await self._terms.owners.is_dead(head.owner.partition(":")[0])

    def close(self) -> None:
        """Let the marks of what still runs end by themselves: the process ends."""
        for renewal in self._renewals.values():
            renewal.cancel()
        self._renewals.clear()

    async def _renew(self, caller: Caller, response_id: str) -> None:
        while True:
            await self._terms.sleep(self._terms.renew_every)
            await self._write(caller, response_id)

    async def _write(self, caller: Caller, response_id: str) -> None:
        try:
            mark: Value = {
                "owner": await self._terms.owners.name(),
                "expires_at": self._terms.clock() + self._terms.seconds,
            }
            await write_value(self._store, caller, Key(RUNNING, response_id), mark)
        except Exception as error:  # noqa: BLE001 - the turn matters more; tried again
            log_failure(logger, f"Marking {response_id} as running failed", error)
