"""Ids of responses and items in the service's format: a prefix, a partition key, 32 random characters.

The ids of parallel calls have the same suffix, so that they can be recognised when a client keeps the conversation and
sends it back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from hostedagent.protocol.types import Item

_PARTITION_KEY_LENGTH: Final = 18
_BATCH_LENGTH: Final = 8
_ID: Final = re.compile(r"[a-z]+_[0-9A-Za-z]{18}[0-9a-f]{32}")


def new_item_id(prefix: str, response_id: str, batch: str = "") -> str:
    """An item id with the response's partition key.

    The service routes an item by the partition key in its id, so a provider's own id cannot be used.

    Args:
        prefix: The prefix for the kind of item.
        response_id: The response that the item belongs to.
        batch: The common suffix of parallel calls: see `new_batch`.
    """
    partition = response_id.partition("_")[2][:_PARTITION_KEY_LENGTH]
    if len(partition) < _PARTITION_KEY_LENGTH:
        partition = f"{os.urandom(8).hex()}00"
    return f"{prefix}_{partition}{os.urandom(16).hex()[len(batch) :]}{batch}"


def new_batch() -> str:
    """A new suffix for the ids of parallel calls."""
    return os.urandom(_BATCH_LENGTH // 2).hex()


def batch_of(item_id: object) -> str:
    """The suffix of an item's id; empty for ids of another format."""
    return item_id[-_BATCH_LENGTH:] if isinstance(item_id, str) and _ID.fullmatch(item_id) else ""


_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}


def with_own_id(item: Item, owner: str) -> Item:
    """An item as it is stored: with a new id, so that it replaces no stored item, and the same batch suffix.

    Args:
        item: An item of a caller.
        owner: The response or the conversation that it belongs to.
    """
    prefix = _PREFIXES.get(str(item.get("type")), "item")
    return {**item, "id": new_item_id(prefix, owner, batch_of(item.get("id")))}


def stored_input(items: Sequence[Item], response_id: str) -> list[Item]:
    """Input items as they are stored with a response: each with a new id and the same batch suffix."""
    return [with_own_id(item, response_id) for item in items]
