"""The tokens of a turn: counted from signals, written as the protocol's `usage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard, cast

from agent_framework import UsageDetails, add_usage_details

from hostedagent.protocol.types import CountUsage, Json
from hostedagent.protocol.values import fields_of

_COUNTED_APART: Final = ("anthropic.cache_read_input_tokens", "anthropic.cache_creation_input_tokens")
"""Input tokens that Anthropic counts apart and the protocol includes."""


MOST: Final = 2**53 - 1
"""The largest count that a JSON reader can represent as a float."""


NONE_USED: Final[Json] = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
"""The `usage` of a response without model calls."""


class UsageCount:
    """The tokens of a turn so far; `None` on the wire until something was counted.

    Args:
        before: The `usage` of the turn from an earlier process.
    """

    def __init__(self, before: Json = None) -> None:
        self._usage: UsageDetails | None = None
        self._before: Json = before

    def count(self, effect: CountUsage) -> None:
        """Add to the count, or replace it."""
        usage = _counts(effect.usage)
        replaces = effect.replaces or self._usage is None
        self._usage = usage if replaces else add_usage_details(self._usage, usage)

    def add(self, usage: UsageDetails) -> None:
        """Add tokens used beside the run. They are kept apart because a run may replace its own count."""
        apart = UsageCount(self._before)
        apart.count(CountUsage(usage, replaces=False))
        self._before = apart.wire()

    def wire(self) -> Json:
        """The response's `usage`."""
        now = self._now()
        return now if self._before is None else self._before if now is None else _sum(self._before, now)

    def _now(self) -> Json:
        usage = self._usage
        if usage is None:
            return None
        read, written = usage.get("input_token_count") or 0, usage.get("output_token_count") or 0
        read += sum(usage.get(name) or 0 for name in _COUNTED_APART)
        return {
            "input_tokens": read,
            "input_tokens_details": {
                "cached_tokens": usage.get("cache_read_input_token_count") or 0,
                "cache_write_tokens": usage.get("cache_creation_input_token_count") or 0,
            },
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": usage.get("reasoning_output_token_count") or 0},
            "total_tokens": max(usage.get("total_token_count") or 0, read + written),
        }


def _counts(usage: object) -> UsageDetails:
    """The valid counts of a model client, which passes on whatever its service sends."""
    try:
        rows = dict(cast("Mapping[object, object]", usage)) if isinstance(usage, Mapping) else {}
    except Exception:  # noqa: BLE001 - an unreadable count is ignored and does not fail the turn
        return {}
    numbers = ((name, value) for name, value in rows.items() if type(name) is str and _is_number(value))
    counts = {name: int(value) for name, value in numbers if 0 <= value <= MOST}
    return cast("UsageDetails", counts)


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)


def _sum(before: Json, now: Json) -> Json:
    """The sum of two counts."""
    return {
        name: _sum(before[name], value) if isinstance(value, dict) else before[name] + value
        for name, value in fields_of(now).items()
    }
