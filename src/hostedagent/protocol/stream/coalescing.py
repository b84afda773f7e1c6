"""Adjacent deltas become one: what a model said faster than anybody could take it needs no event for each word.

Only what is there already is merged, so nothing waits for more to come. Anything else that comes out keeps its place
between the deltas. Where nobody watches the stream, what happens inside an item is left out: the item says it all when
it is done, and the SDK would copy and check each event only to throw it away. Pure, as the projection is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hostedagent.protocol.types import Emission, Event, Json

MERGED: Final = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.mcp_call_arguments.delta",
        "response.custom_tool_call_input.delta",
    }
)
"""The deltas of which one may say what two would have said."""

_OF_WHOLE_ITEMS: Final = frozenset({"response.output_item.added", "response.output_item.done"})
"""What the SDK needs to know of a turn that nobody watches."""


class Merge:
    """The delta that has not left yet.

    Args:
        is_watched: Whether anybody reads the events while the turn runs.
    """

    def __init__(self, *, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._last: Event | None = None
        self._place: tuple[Json, ...] = ()
        self._chunks: list[str] = []
        self._logprobs: list[Json] = []

    def merged(self, emissions: Iterable[Emission]) -> Iterator[Emission]:
        """What is there already, with fewer deltas. What an exception cuts short is in `rest`."""
        if not self._is_watched:
            yield from (row for row in emissions if not isinstance(row, dict) or row["type"] in _OF_WHOLE_ITEMS)
            return
        for emission in emissions:
            if isinstance(emission, dict) and (kind := emission["type"]) in MERGED:
                place = (kind, emission["item_id"], emission.get("content_index"), emission.get("summary_index"))
                if self._last is None or place != self._place:
                    yield from self.rest()
                    self._last, self._place = emission, place
                self._chunks.append(emission["delta"])
                if logprobs := emission.get("logprobs"):
                    self._logprobs.extend(logprobs)
            else:
                yield from self.rest()
                yield emission
        yield from self.rest()

    def rest(self) -> Iterator[Event]:
        """The delta that was kept back, if there is one."""
        last = self._last
        if last is None:
            return
        self._last = None
        if len(self._chunks) > 1:
            last["delta"] = "".join(self._chunks)
            if "logprobs" in last:
                last["logprobs"] = self._logprobs
        self._chunks, self._logprobs = [], []
        yield last
