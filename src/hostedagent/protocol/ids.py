"""Ids of responses and items in the service's format: a prefix, a partition key, 32 random characters.

The ids of parallel calls have the same suffix, so that they can be recognised when a client keeps the conversation and
sends it back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Final

from hostedagent.protocol.types import Item

_PARTITION_KEY_LENGTH: Final = 18
_BATCH_LENGTH: Final = 8
_DERIVED_LENGTH: Final = _PARTITION_KEY_LENGTH + 32
_ID: Final = re.compile(r"[a-z]+_[0-9A-Za-z]{18}[0-9a-f]{32}")


def new_item_id(prefix: str, response_id: str, batch: str = "") -> str:
    """An item id with the response's partition key.

    The service routes an item by the partition key in its id, so a provider's own id cannot be used.

    Args:
        batch: The common suffix of parallel calls: see `new_batch`.
    """
    partition = response_id.partition("_")[2][:_PARTITION_KEY_LENGTH]
    if len(partition) < _PARTITION_KEY_LENGTH:
        partition = f"{os.urandom(8).hex()}00"
    return f"{prefix}_{partition}{os.urandom(16).hex()[len(batch) :]}{batch}"


def chain_of(response_id: str) -> str:
    """The part that the ids of a response and its successors share; the whole id if it has another format."""
    rest = response_id.partition("_")[2]
    return rest[:_PARTITION_KEY_LENGTH] if len(rest) == _DERIVED_LENGTH else response_id


def derived_item_id(prefix: str, item: Item, count: int = 1) -> str:
    """An id for an item of a caller that has none: the same whenever the caller sends the item.

    Args:
        count: The number of equal items before it in the request, so that ids are unique.
    """
    said = json.dumps([count, item], sort_keys=True)
    return f"{prefix}_{hashlib.sha256(said.encode()).hexdigest()[:_DERIVED_LENGTH]}"


def new_batch() -> str:
    """A new suffix for the ids of parallel calls."""
    return os.urandom(_BATCH_LENGTH // 2).hex()


def batch_of(item_id: object) -> str:
    """The suffix of an item's id; empty for ids of another format."""
    return item_id[-_BATCH_LENGTH:] if isinstance(item_id, str) and _ID.fullmatch(item_id) else ""
