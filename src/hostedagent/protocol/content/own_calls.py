"""Restores the agent's own calls in a transcript: in any wire form, the model reads a call and its output.

An `mcp_call` of the server `agent` becomes a `function_call` and a `function_call_output`; hidden calls are restored
from the item that carries them. Parallel calls stay together: their outputs follow the last of them. A call that was
sent without a result first, and later again with one, is read once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from hostedagent.protocol.content.codec import recall
from hostedagent.protocol.ids import batch_of
from hostedagent.protocol.json import decode_text, is_whole
from hostedagent.protocol.stream import interrupted
from hostedagent.protocol.types import Item, Json, MutableItem
from hostedagent.protocol.values import fields_of, is_mapping, joined_texts, rows_of

LOCAL_SERVER: Final = "agent"
"""The `server_label` of the agent's own tools, and of questions about them."""

ERROR_TYPE: Final = "mcp_tool_execution_error"
"""The type of the error of a tool that failed."""

NOT_SENT: Final = "[The client did not send the result of this call back.]"
"""Placeholder for the missing result of a finished call."""

_UNFINISHED: Final = ("in_progress", "calling", "incomplete")

_RICH: Final = ("input_image", "input_file")
_PARTS: Final = frozenset({"input_text", *_RICH})


def is_own_call(item: Item) -> bool:
    """Whether an item is a call of one of the agent's own tools rather than of a tool of its model's service."""
    if item.get("type") != "mcp_call":
        return False
    memory = recall(item)
    return memory.get("own") is True if "call_id" in memory else item.get("server_label") == LOCAL_SERVER


def is_partial(item: Item) -> bool:
    """Whether an own call refers to a stored one and lacks its arguments or its result."""
    if not is_own_call(item) or not str(item.get("id") or "").startswith("mcp_"):
        return False
    return not item.get("arguments") or (item.get("output") is None and item.get("error") is None)


def as_function_items(item: Item, call_id: str) -> list[MutableItem]:
    """An own call as a function call, with its output if it has one."""
    arguments, output = item.get("arguments"), _output(item)
    call: MutableItem = {
        "type": "function_call",
        "call_id": call_id,
        "name": item.get("name"),
        "arguments": arguments or "{}",
        "status": "completed" if is_whole(arguments) else "incomplete",
    }
    if output is None:
        return [call]
    return [call, {"type": "function_call_output", "call_id": call_id, "output": output, "status": "completed"}]


def _output(item: Item) -> Json:
    output, error = item.get("output"), item.get("error")
    if output is not None:
        return _parts(output) or output
    if error is None:
        return None if item.get("status") in _UNFINISHED else NOT_SENT
    content = error.get("content") if is_mapping(error) else error
    if (text := joined_texts(content)) is not None:
        return text
    return content if isinstance(content, str) else json.dumps(error, ensure_ascii=False)


def _parts(output: object) -> Json:
    """The parts of a rich result, which `output` contains as JSON; `None` if it is plain text."""
    if not isinstance(output, str) or not output.startswith("[{") or '"input_' not in output:
        return None
    try:
        parts = decode_text(output)
    except ValueError:
        return None
    rows = rows_of(parts)
    kinds = {fields_of(row).get("type") for row in rows}
    return rows if kinds <= _PARTS and not kinds.isdisjoint(_RICH) else None


class _Batch(Struct):
    """Parallel calls, whose ids have the same suffix, and their outputs."""

    mark: str
    calls: list[tuple[int, Item]] = field(default_factory=list[tuple[int, Item]])
    outputs: list[tuple[int, Item]] = field(default_factory=list[tuple[int, Item]])

    def add(self, number: int, rows: Iterable[Item], place: int | None) -> None:
        """Add an own call. A hidden call has its recorded place among the calls; the others keep their order."""
        for row in rows:
            if row["type"] != "function_call":
                self.outputs.append((number, row))
            else:
                self.calls.insert(len(self.calls) if place is None else place, (number, row))

    def __bool__(self) -> bool:
        return bool(self.calls or self.outputs)

    def rows(self) -> Iterator[tuple[int, Item]]:
        """The calls, followed by their outputs."""
        yield from self.calls
        yield from self.outputs


class OwnCalls:
    """Reads the own calls of a transcript, whose items may come in several sequences."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, ...], str] = {}

    def items(self, items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """The items with own calls as function calls and outputs, each with the index of its source item."""
        batch = _Batch("")
        for number, item in enumerate(items):
            for row in (*hidden, item) if (hidden := _hidden(item)) else (item,):
                is_own = is_own_call(row)
                mark = batch_of(row.get("id")) if is_own or row.get("type") == "function_call" else ""
                if mark != batch.mark or (not mark and batch):
                    yield from batch.rows()
                    batch = _Batch(mark)
                if is_own:
                    memory = recall(row)
                    batch.add(number, self._read(row, number, memory), memory.get("place"))
                elif mark:
                    batch.calls.append((number, row))
                else:
                    yield number, row
        yield from batch.rows()

    def _read(self, item: Item, number: int, memory: Mapping[str, Json]) -> Iterator[MutableItem]:
        kept = memory.get("call_id") or item.get("id")
        call_id = kept if isinstance(kept, str) and kept else _call_id(item, number)
        names = ((call_id,), (str(item.get("name")), str(item.get("arguments"))))
        is_gone = interrupted.is_cut_off(
            item
        )  # Interrupted output is in no prompt, so the same call made again is a new one.
        earlier = None if is_gone else next((self._open[name] for name in names if name in self._open), None)
        rows = as_function_items(item, earlier or call_id)
        call = {**rows[0], **_origin(item)}
        if len(rows) > 1:
            for name in [name for name, open_id in self._open.items() if open_id == earlier]:
                del self._open[name]
        elif not is_gone:
            self._open.update(dict.fromkeys(names, earlier or call_id))
        if earlier is None:
            yield call
        for row in rows[1:]:
            yield {**row, **_origin(item)}


def function_items(items: Iterable[Item]) -> list[Item]:
    """A transcript in which the agent's own calls are function calls and outputs."""
    return [item for _, item in OwnCalls().items(items)]


def _hidden(item: Item) -> Sequence[Item]:
    return recall(item).get("hidden") or ()


def _call_id(item: Item, number: int) -> str:
    """An id for a call whose id a client removed; the same whenever the client sends the transcript."""
    named = json.dumps([number, str(item.get("name")), str(item.get("arguments"))])
    return f"call_{hashlib.sha256(named.encode()).hexdigest()[:24]}"


def _origin(item: Item) -> MutableItem:
    """The fields that an own call shares with the items read from it."""
    return {name: item[name] for name in ("id", "agent_reference", "internal_metadata") if item.get(name) is not None}
