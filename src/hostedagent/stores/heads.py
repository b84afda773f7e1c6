"""The record of a conversation: its head, excluded items, and the holder of the lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

MAX_EXCLUDED: Final = 2_000
"""Maximum of excluded items in a record."""

Version: TypeAlias = tuple[str | None, str | None]
"""The last response of a conversation that counts, and its last excluded item: each turn that ends changes one."""

NEW: Final[Version] = (None, None)


class Head(Struct, frozen=True, rename={"response_id": "head"}):
    """A conversation's record.

    Args:
        response_id: The last completed or incomplete response.
        owner: The holder of the lease: a process and a turn.
        expires_at: When the lease expires, in seconds since the epoch.
    """

    response_id: str | None = None
    excluded: tuple[str, ...] = ()
    has_snapshot: bool = False
    owner: str | None = None
    expires_at: float = 0.0

    @property
    def version(self) -> Version:
        """The version of the conversation."""
        return self.response_id, self.excluded[-1] if self.excluded else None


class PendingRelease(Struct, frozen=True):
    """A correction that a failed turn could not write to the record: its items are excluded."""

    before: Head
    response_id: str | None
    excluded: tuple[str, ...]

    def applied(self, head: Head) -> Head:
        """The corrected record."""
        if self.response_id is not None and head.response_id == self.response_id:
            head = replace(head, response_id=self.before.response_id, has_snapshot=self.before.has_snapshot)
        return replace(head, excluded=joined(head.excluded, self.excluded))


def joined(excluded: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """The excluded items with further ones, limited to the newest."""
    known = frozenset(excluded)
    return (*excluded, *(item_id for item_id in more if item_id not in known))[-MAX_EXCLUDED:]
