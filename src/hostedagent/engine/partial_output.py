"""The output of a response while its turn runs: finished items, and the text so far of those that are open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing

from hostedagent.protocol.envelope import public_item
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import rows_of


class PartialOutput:
    """Collects the current output of a response from the events of its turn.

    Args:
        response: The response, to which the turn adds each finished item.
    """

    def __init__(self, response: Mapping[str, Json]) -> None:
        self._response = response
        self._open: dict[int, Item] = {}
        self._said: dict[int, list[str]] = {}

    async def watch(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        """Yield the events unchanged and record them."""
        async with aclosing(events):
            async for event in events:
                self.see(event)
                yield event

    def output(self) -> list[Item]:
        """The finished items, and the open ones with their text so far."""
        done = rows_of(self._response["output"])
        items = {index: item for index, item in enumerate(done) if item is not None}
        items |= {index: self._with_text(index) for index in self._open}
        return [public_item(items[index]) for index in sorted(items)]

    def see(self, event: Event) -> None:
        """Record an event."""
        match event["type"]:
            case "response.output_text.delta":
                self._said.setdefault(event["output_index"], []).append(event["delta"])
            case "response.output_item.added":
                self._open[event["output_index"]] = event["item"]
            case "response.output_item.done":
                self._open.pop(event["output_index"], None)
                self._said.pop(event["output_index"], None)
            case _:
                pass

    def _with_text(self, index: int) -> Item:
        if (said := self._said.get(index)) is None:
            return self._open[index]
        text: Json = {"type": "output_text", "text": "".join(said), "annotations": [], "logprobs": []}
        return {**self._open[index], "content": [text]}


def output_of(events: Iterable[Event]) -> list[Item]:
    """The current output of a response of another process, from its events."""
    output: list[Item | None] = []
    partial = PartialOutput({"output": output})
    for event in events:
        partial.see(event)
        if event["type"] == "response.output_item.done":
            output.extend([None] * (event["output_index"] + 1 - len(output)))
            output[event["output_index"]] = event["item"]
    return partial.output()
