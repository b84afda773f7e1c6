"""Divides the output of a resumed turn into items that are kept and items that are marked as interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from hostedagent.agents.deduplication import can_be_left_out
from hostedagent.protocol.content.own_calls import OwnCalls, function_items
from hostedagent.protocol.stream.interrupted import cut_off
from hostedagent.protocol.types import Item
from hostedagent.stores.journals import Journal
from hostedagent.stores.tokens import Place


def joined_items(sent: Mapping[int, Item], stored: Iterable[Item]) -> list[Item]:
    """The items that were sent, in their stored form if there is one."""
    by_id = {item["id"]: item for item in stored}
    if len(sent) < len(by_id):  # The log was on a lost disk, or has expired.
        return list(by_id.values())
    return [by_id.get(sent[index]["id"], sent[index]) for index in sorted(sent)]


def divided_items(
    items: Sequence[Item], journal: Journal | None, place: Place | None
) -> tuple[list[Item], tuple[Item, ...], tuple[Item, ...]]:
    """The items with those marked that count for nothing, those that the agent must know of, and those that count.

    What a model's service says again, once it is found by its token, is the same: what was finished of it counts.
    """
    if journal is not None and journal.ended is not None:
        return list(cast("Sequence[Item]", journal.ended.response["output"])), (), ()
    if journal is not None and journal.checkpoint is not None:
        return [item if item["id"] in journal.said else cut_off(item) for item in items], (), ()
    comes_again = place is not None and not place.is_answered(function_items(items))
    calls = place.calls if place is not None and comes_again else ()
    results = (
        number + 1
        for number, item in OwnCalls().items(items)
        if str(item.get("type")).endswith("_call_output") and item.get("call_id") not in calls
    )
    last = max(results, default=0)
    made, rest = items[:last], items[last:]
    told = [item for item in rest if comes_again and can_be_left_out(item)]
    marked = [*made, *(item if item in told else cut_off(item) for item in rest)]
    return marked, tuple(function_items(made)), tuple(function_items(told))
