"""The record of a conversation: which items count for nothing, and how many of them are remembered."""

from hostedagent.stores.heads import MAX_EXCLUDED, joined


def test_an_item_that_counts_for_nothing_is_remembered_once() -> None:
    assert joined(("a", "b"), ("b", "c")) == ("a", "b", "c")


def test_the_newest_items_are_remembered_where_they_are_too_many() -> None:
    many = tuple(str(n) for n in range(MAX_EXCLUDED))

    assert joined(many, ("last",)) == (*many[1:], "last")
