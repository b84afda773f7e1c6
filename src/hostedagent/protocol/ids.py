"""Ids of responses and items, in the format of the service: a prefix, a partition key, 32 random characters."""

from __future__ import annotations

import secrets
from typing import Final

_PARTITION_KEY_LENGTH: Final = 18


def new_item_id(prefix: str, response_id: str) -> str:
    """An item id with the response's partition key.

    The service routes an item by the partition key inside its id, so a provider's own id can't be used.
    """
    partition = response_id.partition("_")[2][:_PARTITION_KEY_LENGTH]
    if len(partition) < _PARTITION_KEY_LENGTH:
        partition = f"{secrets.token_hex(8)}00"
    return f"{prefix}_{partition}{secrets.token_hex(16)}"
