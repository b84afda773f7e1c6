"""Compaction items: creates them from the messages of a conversation, and restores the messages.

An item replaces everything before it except system messages. Its sealed content can be opened only for its caller, on
every host that shares the state store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent_framework import Message

from hostedagent.errors import InvalidRequest
from hostedagent.identity import Caller
from hostedagent.off_loop import off_loop
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.compaction import dump, load
from hostedagent.protocol.transcript.reading import ItemReader
from hostedagent.protocol.types import Item
from hostedagent.stores.seals import NotOpened, Seals, is_sealed

logger = logging.getLogger(__name__)


async def seal_messages(seals: Seals, caller: Caller, messages: Sequence[Message]) -> str:
    """The `encrypted_content` of an item for the messages.

    Raises:
        StoreError: The caller's key could not be stored.
    """
    return await seals.seal(caller, await off_loop(len(messages), dump, messages))


async def open_input(request: TurnRequest, seals: Seals) -> None:
    """Open the last compaction item of the input, so that the transcript contains its messages.

    Raises:
        InvalidRequest: It was created for another caller, was changed, or its key has expired.
        StoreError: The key cannot be read.
    """
    n = _last_sealed(request.input)
    if n is None:
        return
    try:
        await _open(request.input[n], request.caller, seals, request.reader)
    except (NotOpened, ValueError, KeyError, TypeError):
        param = f"input[{n}].encrypted_content"
        says = f"{param} does not open: it was changed, was made for another caller, or is too old. Send the items."
        raise InvalidRequest(says, param=param) from None


async def open_history(items: Sequence[Item], caller: Caller, seals: Seals, reader: ItemReader) -> None:
    """Open the last compaction item of stored items. If it cannot be opened, the model sees the items before it.

    Raises:
        StoreError: The key cannot be read.
    """
    n = _last_sealed(items)
    if n is None:
        return
    try:
        await _open(items[n], caller, seals, reader)
    except (NotOpened, ValueError, KeyError, TypeError):
        logger.warning("A stored compaction item does not open: the model sees the items before it.")


async def _open(item: Item, caller: Caller, seals: Seals, reader: ItemReader) -> None:
    sealed: str = item["encrypted_content"]
    if not reader.has_opened(sealed):
        content = await seals.open(caller, sealed)
        reader.open(sealed, await off_loop(len(content) // 1_000, load, content))


def _last_sealed(items: Sequence[Item]) -> int | None:
    """The index of the last compaction item that a host created."""
    places = (n for n in reversed(range(len(items))) if items[n].get("type") == ITEM)
    return next((n for n in places if is_sealed(items[n].get("encrypted_content"))), None)
