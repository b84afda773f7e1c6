"""Compares the thread of a client, which sends all of it each time, with the conversation that the host keeps.

Items of the agent have the same ids on both sides; those of the user do not. If the client no longer shows items that
it was sent, it has edited the thread: the removed turns are excluded from the conversation. Turns of other doors are
kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from hostedagent.doors.door import Entry
from hostedagent.identity import Caller
from hostedagent.off_loop import off_loop
from hostedagent.protocol.types import Item

_SHOWN: Final = ("reasoning", "function_call", "mcp_call")
_TOLD: Final = ("message", "function_call_output")


ReadFrom: TypeAlias = Callable[[int], list[Item]]
"""Reads the items of a client's messages, starting with one of them."""


class Thread:
    """The differences between a thread and a conversation.

    Args:
        messages: The ids that each message shows: its own, and those of its calls.

    Attributes:
        new: The items that the conversation does not have.
        hidden: The responses that the thread does not show: the ids of the items of each, with its input.
    """

    def __init__(self, messages: Sequence[AbstractSet[str]], read: ReadFrom, kept: Sequence[Item] = ()) -> None:
        known, shown = names_of(kept), frozenset(name for names in messages for name in names)
        self.new = read(1 + max((n for n, names in enumerate(messages) if names & known), default=-1))
        self.hidden: dict[str, list[str]] = {}
        at = max((n for n, item in enumerate(kept) if names_of([item]) & shown), default=-1)
        own = kept[at].get("response_id") if at >= 0 else None
        for response_id, items in _turns(kept[at + 1 :], own):
            if names_of(items) or not self._tells_again(items):
                if at < 0:  # The thread starts here, and need not show earlier turns.
                    return
                self.hidden[response_id] = [item["id"] for item in items]

    def _tells_again(self, items: Sequence[Item]) -> bool:
        """Whether the input of a turn without visible output is the next one of the thread, and therefore not new."""
        told = [item for item in items if item["type"] in _TOLD]
        pairs = zip(told, self.new, strict=False)
        if len(told) > len(self.new) or any(it.get(name) != value for it, new in pairs for name, value in new.items()):
            return False
        del self.new[: len(told)]
        return True


def _turns(items: Iterable[Item], own: str | None) -> Iterator[tuple[str, list[Item]]]:
    """The items of each response after the last one that is shown, with the input before them."""
    groups: dict[str, list[Item]] = {}
    told: list[Item] = []
    for item in items:
        told.append(item)
        if (response_id := item.get("response_id")) is not None:
            groups.setdefault(response_id, []).extend(told)
            told = []
    groups.pop(own or "", None)
    yield from groups.items()
    yield "", told  # Items of turns without output.


async def open_thread(
    entry: Entry,
    caller: Caller,
    conversation_id: str,
    messages: Sequence[AbstractSet[str]],
    read: ReadFrom,
    *,
    mark: str,
) -> list[Item]:
    """The new items of a client's thread, after removed turns were excluded from the conversation.

    Args:
        messages: The ids that each message shows.
        mark: The metadata of the responses that this client was sent.

    Raises:
        RequestError: Turns were removed, but a turn is running in the conversation, or the host does not keep it.
    """
    kept = await entry.turns.conversation_items(caller, conversation_id)
    thread = await off_loop(len(messages) + len(kept), Thread, messages, read, kept)
    taken_back: list[str] = []
    for response_id, items in thread.hidden.items():
        if response_id and mark in ((await entry.turns.retrieve(response_id, caller)).get("metadata") or {}):
            taken_back += items
    if taken_back:
        await entry.turns.leave_out(caller, conversation_id, taken_back)
    return thread.new


def names_of(items: Iterable[Item]) -> frozenset[str]:
    """The ids by which a client refers to the agent's items."""
    agents = (item for item in items if item["type"] in _SHOWN or item.get("role") == "assistant")
    return frozenset(str(item[name]) for item in agents for name in ("id", "call_id") if name in item)
