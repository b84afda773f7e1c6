"""One write for what several repositories store together: all or nothing where the store has transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Store, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.values import ATTEMPTS


class Part(Protocol):
    """The writes of one repository in a batch."""

    async def writes(self, *, is_again: bool) -> Sequence[Write]:
        """The records to write.

        Args:
            is_again: Whether the batch met a conflict, so that what the part replaces must be read again.

        Raises:
            HostError: The part may not be written any more, and with it the whole batch.
        """
        ...

    def written(self, etags: Sequence[Etag]) -> None:
        """Take note of the new etags; called once the batch is stored."""
        ...


class Rows(Struct, frozen=True):
    """A part that replaces its records, whatever they are."""

    rows: Sequence[Write]

    async def writes(self, *, is_again: bool) -> Sequence[Write]:
        """The records."""
        return self.rows

    def written(self, etags: Sequence[Etag]) -> None:
        """Nothing to note."""


def is_transactional(store: Store) -> bool:
    """Whether a write of several records is all or nothing; a store says so with `is_transactional = True`."""
    return getattr(store, "is_transactional", False) is True


async def write_batch(store: Store, caller: Caller, parts: Sequence[Part]) -> None:
    """Write the parts in one call, in their order where the store has no transactions.

    Raises:
        StoreUnavailable: The store cannot be written, or others change the same records again and again.
        HostError: A part may not be written any more.
    """
    for attempt in range(ATTEMPTS):
        rows = [list(await part.writes(is_again=attempt > 0)) for part in parts]
        writes = [row for own in rows for row in own]
        try:
            etags = await store.write(caller, writes) if writes else []
        except StoreConflict:
            continue
        start = 0
        for part, own in zip(parts, rows, strict=True):
            part.written(etags[start : start + len(own)])
            start += len(own)
        return
    raise StoreUnavailable("What is to be stored is changed by too many others at once.")
