"""Timeout and retry settings of calls to a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Timeout and retry settings. A call ends at the latest after `tries` times `timeout` plus the pauses.

    Args:
        timeout: Seconds for one attempt.
        tries: The maximum number of attempts.
        pause: Seconds before the second attempt; doubled for each further one.
    """

    timeout: float = 10.0
    tries: int = 3
    pause: float = 0.2
