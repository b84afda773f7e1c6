"""The storage contracts: `Store` for records, `EventLog` for events, `Signals` between processes, `ResponseRepository`.

A backend (memory, sqlite, postgres, foundry) implements the first three. The typed repositories, written once over
`Store`, decide what is stored under which keys. Every call names its caller, and a record is reachable only through an
equal scope. `hostedagent.testing` has these contracts as test suites.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from hostedagent.errors import HostError
from hostedagent.identity import Caller
from hostedagent.protocol.types import Item, Json

Etag: TypeAlias = str
Value: TypeAlias = Mapping[str, Json]

ABSENT: Final[Etag] = ""
"""The etag of a key that has no value: a write that expects it creates the record."""

MAX_VALUE_BYTES: Final = 990_000
"""The largest state value, as compact JSON in UTF-8: Foundry's state stores accept 1 MB including our envelope."""

DEFAULT_TTL: Final = 30 * 86400.0
"""Seconds that a record lives after its last write."""


class StoreError(HostError):
    """A call of a store failed."""


class StoreNotFound(StoreError):
    """The response does not exist, or belongs to another scope."""


class StoreConflict(StoreError):
    """The record changed since it was read, or exists already."""


class StoreRejected(StoreError):
    """The store refused the request; repeating the call will fail again."""


class StoreTooLarge(StoreRejected):
    """The value is larger than the store accepts."""


class StoreUnavailable(StoreError):
    """The store failed or did not answer in time. A write may or may not have happened."""


class Key(NamedTuple):
    """The key of a record within its scope. Both parts are arbitrary strings.

    Args:
        kind: The kind of record: a session, a lease, an item.
        name: Its name within the kind.
    """

    kind: str
    name: str


class Record(Struct, frozen=True):
    """A stored value, and the etag that the next write must expect."""

    value: bytes
    etag: Etag


class Write(Struct, frozen=True):
    """One record to write or to erase.

    Args:
        key: Its key.
        value: Its content, any bytes; `None` erases the record, and the etag of that write is `ABSENT`.
        expect: The etag that must be current, `ABSENT` for a record that must not exist, `None` for no condition.
        ttl: Lifetime in seconds; by default the store's retention. Foundry always uses its retention.
    """

    key: Key
    value: bytes | None
    expect: Etag | None = None
    ttl: float | None = None


class Store(Protocol):
    """Keeps records of bytes.

    Concurrency: calls may come from many tasks; a write with `expect` is atomic.
    Exceptions: `StoreConflict`, `StoreTooLarge`, `StoreRejected`; everything else is `StoreUnavailable`.
    Cancellation: a cancelled write or delete either happened or did not.
    Isolation: a record is reachable only through an equal `Scope`; of the caller, only the scope decides.
    An etag is never used twice for one key, not even after a delete.
    Transactions: a store whose writes are all or nothing says so with `is_transactional = True`. The end of a turn is
    one write then; in other stores its records are ordered so that later turns see what callers were told.
    `hostedagent.testing.StoreContract` is this text as a test suite.
    """

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys, `None` for each that does not exist or has expired.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        ...

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write the records, each key at most once, and return their new etags.

        All or nothing where the backend has transactions; otherwise in order, stopping at the first failure.

        Raises:
            StoreConflict: An `expect` does not match.
            StoreTooLarge: A value is larger than the store accepts.
            StoreUnavailable: The store cannot be written.
        """
        ...

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records; keys without a record are skipped.

        Args:
            caller: The owner of the records.
            keys: Their keys; exactly one if `expect` is given.
            expect: The etag that must be current.

        Raises:
            StoreConflict: `expect` does not match.
            StoreUnavailable: The store cannot be written.
        """
        ...


class LoggedEvent(NamedTuple):
    """One event of a response as it is sent.

    Args:
        number: Its `sequence_number`.
        data: The event as JSON.
    """

    number: int
    data: bytes


class EventLog(Protocol):
    """Keeps the events of responses, so that a client can resume a stream after its last event.

    Concurrency: one writer for each response, any number of readers. The numbers of a response increase.
    Exceptions: `StoreNotFound` if the caller's scope has no log of that response; `StoreUnavailable`.
    Cancellation: a cancelled `append` either happened or did not; an abandoned subscriber affects no other.
    """

    async def append(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Add events and wake the subscribers; the first call creates the log. Numbers already present are skipped."""
        ...

    async def read(self, caller: Caller, response_id: str, *, after: int = -1) -> list[LoggedEvent]:
        """The events with a higher number than `after`, in order."""
        ...

    def subscribe(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """Yield batches of the events after `after`, existing and new ones, until the log is finished."""
        ...

    async def finish(self, caller: Caller, response_id: str) -> None:
        """Mark the log complete: subscribers end after its last event. A second call changes nothing."""
        ...

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the log and end its subscribers; does nothing if there is none."""
        ...


@runtime_checkable
class ExclusiveEventLog(Protocol):
    """An extension of `EventLog` for logs that several processes write."""

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Like `EventLog.append`, but adds nothing if another event has one of the numbers.

        Raises:
            StoreConflict: Another process writes the log.
        """
        ...


async def extend(log: EventLog, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
    """Add events to a log that another process may write too, as far as the log can tell.

    Raises:
        StoreConflict: Another process writes it.
        StoreUnavailable: The log is not available.
    """
    add = log.extend if isinstance(log, ExclusiveEventLog) else log.append
    await add(caller, response_id, events)


class Signal(Struct, frozen=True):
    """A short message to every process that shares the store.

    Args:
        kind: `cancel` or `steer` a response, a turn `ended`, or one was `queued`.
        scope: `Scope.key()` of the owner.
        subject: The response id, the conversation id of an ended turn, or the service of a queued one.
        value: The content of a steering message; at most 4,000 bytes.
    """

    kind: Literal["cancel", "steer", "ended", "queued"]
    scope: str
    subject: str
    value: str = ""


class Liveness(Protocol):
    """Tracks which of the processes that share a store are alive."""

    async def name(self) -> str:
        """The name of this process, never reused; `""` if the store cannot track processes."""
        ...

    async def is_dead(self, name: str) -> bool:
        """Whether the process of that name has certainly ended."""
        ...


class Signals(Liveness, Protocol):
    """Delivers signals between processes and tracks which of them are alive.

    Delivery is at most once and only to listeners: a reader that needs certainty must read the store.
    """

    async def publish(self, signal: Signal) -> None:
        """Send a signal to every listener, including those of this process.

        Raises:
            StoreUnavailable: The signal could not be sent.
        """
        ...

    def receive(self) -> AsyncIterator[Signal]:
        """The signals published from now on, until the iterator is closed."""
        ...


class Page(Struct, frozen=True, kw_only=True):
    """The requested part of a list of items.

    Args:
        limit: The maximum number of items.
        ascending: Whether the oldest item comes first.
        after: The id of the item before the page; without such an item, the page starts the list.
        before: The id of the item after the page; without such an item, the page ends the list.
    """

    limit: int = 20
    ascending: bool = False
    after: str | None = None
    before: str | None = None

    def select(self, items: Sequence[Item]) -> list[Item]:
        """The page of a list of items, oldest first."""
        ordered = items if self.ascending else items[::-1]
        ids = [item.get("id") for item in ordered]
        start = ids.index(self.after) + 1 if self.after in ids else 0
        end = ids.index(self.before) if self.before in ids else len(ordered)
        return list(ordered[start:end][: self.limit])


FIRST_PAGE: Final = Page()


class ResponseRepository(Protocol):
    """Keeps responses, their items, and the order of conversations.

    A response refers to its predecessor; only completed and incomplete turns are in the history of later ones.
    Exceptions: `StoreNotFound`, `StoreConflict`, `StoreRejected`; everything else is `StoreUnavailable`.
    """

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
    ) -> None:
        """Store a new response and its input items.

        Args:
            caller: The owner of the response.
            response: The response object, with its `previous_response_id` and `conversation`.
            input_items: The items of its input, each with an id.
            history_ids: The ids of the items before it, for a service that stores them with each response.

        Raises:
            StoreConflict: A response with this id exists.
        """
        ...

    async def update(self, caller: Caller, response: Mapping[str, Json]) -> None:
        """Replace a stored response and its output.

        Raises:
            StoreNotFound: There is none.
        """
        ...

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The response with its output.

        Raises:
            StoreNotFound: There is none.
        """
        ...

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the response and its items. Responses that continue it are kept, without its items in their history.

        Raises:
            StoreNotFound: There is none.
        """
        ...

    async def input_items(self, caller: Caller, response_id: str, page: Page = FIRST_PAGE) -> list[Item]:
        """A page of the input items, the history before the response included.

        Raises:
            StoreNotFound: There is no such response.
        """
        ...

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, `None` for each that does not exist."""
        ...

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items, oldest first; with a positive limit only the newest ones."""
        ...
