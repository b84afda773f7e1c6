"""Timeout and retry settings of calls to a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a call is retried. It ends after `tries` times `timeout` and the pauses between, at the latest.

    Args:
        timeout: Seconds for one try.
        tries: How often a call is tried in all.
        pause: Seconds before the second try; doubled for each further one.
    """

    timeout: float = 10.0
    tries: int = 3
    pause: float = 0.2
