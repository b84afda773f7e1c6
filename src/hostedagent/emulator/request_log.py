"""The received requests, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request.

    Attributes:
        sequence: The number of the request, from 1; `clear` does not reset it.
        route: The name of the route, such as `responses.create`; `unknown` where there is none.
        path: The path below the project, percent-encoded as it came.
        query: The query without `api-version`.
        user: The user behind the call id, or the delegated user; `None` for a request without one.
        body_size: The length of the body in bytes.
        status: The status of the answer; `None` while there is none, and for good when the connection was dropped.
        fault: The kind of the fault that met this request.
    """

    sequence: int
    method: str
    route: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    call_id: str | None = None
    body_size: int = 0
    status: int | None = None
    fault: str | None = None


class RequestLog(Sequence[LoggedRequest]):
    """A list of requests to look at; an entry gets its status when the answer leaves."""

    def __init__(self) -> None:
        self._entries: dict[int, LoggedRequest] = {}
        self._last = 0

    @property
    def routes(self) -> list[str]:
        """The names of the routes, oldest first, for comparison in a test."""
        return [entry.route for entry in self]

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def open(self, method: str, route: str, path: str, query: Mapping[str, str]) -> int:
        """Add an entry for a request and return its number."""
        self._last += 1
        self._entries[self._last] = LoggedRequest(
            sequence=self._last, method=method, route=route, path=path, query=query
        )
        return self._last

    def note(self, sequence: int, **known: object) -> None:
        """Update an entry, unless it was removed."""
        entry = self._entries.get(sequence)
        if entry is not None:
            self._entries[sequence] = replace(entry, **known)

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | list[LoggedRequest]:
        return list(self._entries.values())[index]

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)
