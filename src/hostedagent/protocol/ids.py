"""Ids of responses and items, in the format of the service: a prefix, a partition key, 32 random characters."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from hostedagent.protocol.types import Item

_PARTITION_KEY_LENGTH: Final = 18


def new_item_id(prefix: str, response_id: str) -> str:
    """An item id with the response's partition key.

    The service routes an item by the partition key inside its id, so a provider's own id can't be used.
    """
    partition = response_id.partition("_")[2][:_PARTITION_KEY_LENGTH]
    if len(partition) < _PARTITION_KEY_LENGTH:
        partition = f"{secrets.token_hex(8)}00"
    return f"{prefix}_{partition}{secrets.token_hex(16)}"


_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}


def with_own_id(item: Item, owner: str) -> Item:
    """An item as it is stored: with an id of its own, so that it replaces no stored item.

    Args:
        item: An item of a caller.
        owner: The response or the conversation that it belongs to.
    """
    return {**item, "id": new_item_id(_PREFIXES.get(str(item.get("type")), "item"), owner)}


def stored_input(items: Sequence[Item], response_id: str) -> list[Item]:
    """Input items as they are stored with a response: each with an id of its own."""
    return [with_own_id(item, response_id) for item in items]
