"""Pages of a list of which some rows no longer exist."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hostedagent.errors import InvalidRequest
from hostedagent.server.paging import listing, page_of
from hostedagent.stores.base import Page

IDS = [f"row_{n}" for n in range(10)]


class Rows:
    def __init__(self, *gone: int) -> None:
        self.gone = {f"row_{n}" for n in gone}
        self.read: list[str] = []

    async def __call__(self, ids: Sequence[str]) -> Sequence[str | None]:
        self.read += ids
        return [None if row_id in self.gone else row_id for row_id in ids]


@pytest.mark.parametrize(
    ("page", "gone", "expected"),
    [
        (Page(limit=3, ascending=True), (), [0, 1, 2, 3]),
        (Page(limit=3), (), [9, 8, 7, 6]),
        (Page(limit=3, ascending=True), (0, 1, 2, 4), [3, 5, 6, 7]),
        (Page(limit=3, ascending=True), (0, 1, 2, 3, 4, 5, 6, 7), [8, 9]),
        (Page(limit=3, ascending=True, after="row_3"), (5,), [4, 6, 7, 8]),
        (Page(limit=3, ascending=True, before="row_2"), (), [0, 1]),
        (Page(limit=3, after="row_3"), (), [2, 1, 0]),
        (Page(limit=20, ascending=True, after="row_9"), (), []),
    ],
)
async def test_a_page_skips_what_no_longer_exists(page: Page, gone: Sequence[int], expected: Sequence[int]) -> None:
    rows = Rows(*gone)

    assert await page_of(IDS, page, rows) == [f"row_{n}" for n in expected]
    assert len(set(rows.read)) == len(rows.read), "no row is read twice"


@pytest.mark.parametrize(("page", "param"), [(Page(after="row_x"), "after"), (Page(before="row_x"), "before")])
async def test_a_place_that_the_list_does_not_have_is_refused(page: Page, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await page_of(IDS, page, Rows())
    assert refused.value.param == param


@pytest.mark.parametrize(("count", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 2, True)])
def test_a_list_says_whether_more_follows(count: int, shown: int, more: bool) -> None:
    found = listing(Page(limit=2), [{"id": row_id} for row_id in IDS[:count]])

    assert (found["object"], len(found["data"]), found["has_more"]) == ("list", shown, more)
    assert (found["first_id"], found["last_id"]) == ((IDS[0], IDS[shown - 1]) if shown else (None, None))


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(limit=3), [9, 8, 7]),
        (Page(ascending=True, after="row_3", before="row_6"), [4, 5]),
        (Page(limit=2, after="row_3"), [2, 1]),
        (Page(ascending=True, before="row_1"), [0]),
        (Page(limit=1, ascending=True, after="row_x", before="row_y"), [0]),
    ],
)
def test_a_page_of_items_is_between_the_items_that_it_names(page: Page, expected: Sequence[int]) -> None:
    assert [row["id"] for row in page.select([{"id": row_id} for row_id in IDS])] == [IDS[n] for n in expected]
