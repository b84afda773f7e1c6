"""How long a call of a service is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call is given; it ends after `tries` times `timeout`, and the pauses between, at the latest.

    Args:
        timeout: Seconds for one try.
        tries: How often a call that broke is tried.
        pause: Seconds before the second try; doubled for each further one.
    """

    timeout: float = 10.0
    tries: int = 3
    pause: float = 0.2
