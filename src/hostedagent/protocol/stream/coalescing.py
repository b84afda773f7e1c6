"""Merges adjacent deltas that are available at the same time, so that a fast model does not need an event per token.

Nothing waits for more deltas, and all other events keep their place between them. If no client reads the stream, the
events inside an item are omitted: the finished item repeats their content, and the SDK would copy and validate each
event only to discard it. Pure, as the projection is.
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
"""Events whose deltas may be joined."""

_OF_WHOLE_ITEMS: Final = frozenset({"response.output_item.added", "response.output_item.done"})
"""The events that the SDK needs if no client reads the stream."""


class Merge:
    """Holds back one delta until the next event."""

    def __init__(self, *, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._last: Event | None = None
        self._place: tuple[Json, ...] = ()
        self._chunks: list[str] = []
        self._logprobs: list[Json] = []

    def merged(self, emissions: Iterable[Emission]) -> Iterator[Emission]:
        """Yield the available events with merged deltas. After an exception, `rest` has the remaining delta."""
        if not self._is_watched:
            for emission in emissions:
                if not isinstance(emission, dict) or emission["type"] in _OF_WHOLE_ITEMS:
                    yield emission
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
        """The delta that was held back, if any."""
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
