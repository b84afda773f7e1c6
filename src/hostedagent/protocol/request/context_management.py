"""`context_management`: when the conversation of a request is compacted."""

from __future__ import annotations

from typing import Final

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_array, is_object

DEFAULT_THRESHOLD: Final = 200_000
"""The tokens at which a conversation is compacted whose request names no number."""

_FIELD: Final = "context_management"


def parse_compaction(value: Json) -> int | None:
    """The number of tokens at which the conversation is compacted; `None` where that is not asked for.

    Raises:
        InvalidRequest: It is no array of at most one compaction, or its threshold is no positive integer.
    """
    if value is None or value == []:
        return None
    if not is_array(value) or len(value) > 1:
        raise InvalidRequest(f"{_FIELD} must be an array of one entry.", param=_FIELD)
    entry, place = value[0], f"{_FIELD}[0]"
    if not is_object(entry):
        raise InvalidRequest(f"{place} must be an object.", param=place)
    if (kind := entry.get("type")) != "compaction":
        raise InvalidRequest(f"{place}.type must be compaction, not {kind!r:.80}.", param=f"{place}.type")
    threshold = entry.get("compact_threshold")
    if threshold is None:
        return DEFAULT_THRESHOLD
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        param = f"{place}.compact_threshold"
        raise InvalidRequest(f"{param} must be a positive integer, not {threshold!r:.80}.", param=param)
    return threshold
