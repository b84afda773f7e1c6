"""Pages of lists: `limit`, `order`, `after` and `before`, and the list object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Page

MOST_ROWS: Final = 100
_DEFAULT_ROWS: Final = 20

T = TypeVar("T")


def page_asked(query: Mapping[str, str]) -> Page:
    """Parse the page parameters of a query; raises `InvalidRequest` when a value is malformed; `param` names it."""
    limit = number(query, "limit", _DEFAULT_ROWS, low=1, high=MOST_ROWS)
    order = query.get("order", "desc").lower()
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be 'asc' or 'desc'.", param="order")
    return Page(limit=limit, ascending=order == "asc", after=query.get("after"), before=query.get("before"))


def listing(page: Page, rows: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """The list object of rows, which include one more than the page if more follow."""
    shown = rows[: page.limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rows) > page.limit,
    }


async def page_of(
    ids: Sequence[str], page: Page, read: Callable[[Sequence[str]], Awaitable[Sequence[T | None]]]
) -> list[T]:
    """The rows of a page, and one more if more follow. Missing rows are skipped.

    Args:
        ids: All ids, oldest first.
        read: Reads rows by id, `None` for each that does not exist.
    """
    ordered = list(ids) if page.ascending else list(reversed(ids))
    start = _place(ordered, page.after, "after") + 1 if page.after is not None else 0
    end = _place(ordered, page.before, "before") if page.before is not None else len(ordered)
    wanted, found = ordered[start:end], list[T]()
    while wanted and len(found) <= page.limit:
        some, wanted = wanted[: page.limit + 1], wanted[page.limit + 1 :]
        found.extend(row for row in await read(some) if row is not None)
    return found[: page.limit + 1]


def _place(ids: Sequence[str], row_id: str, name: str) -> int:
    if row_id not in ids:
        raise InvalidRequest(f"{name} {row_id!r} is not an id of this list.", param=name)
    return ids.index(row_id)


def number(query: Mapping[str, str], name: str, default: int, *, low: int, high: int | None = None) -> int:
    """An integer parameter of a query.

    Raises:
        InvalidRequest: It is not an integer, or out of range; `param` names it.
    """
    text = query.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be an integer.", param=name) from None
    if value < low or (high is not None and value > high):
        bounds = f"between {low} and {high}" if high is not None else f"at least {low}"
        raise InvalidRequest(f"{name} must be {bounds}.", param=name)
    return value
