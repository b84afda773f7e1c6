"""Pushes an answer to other targets than the caller: another door, a chat, a webhook. Reports the result for each.

The answer is stored before it is pushed, so an unreachable target loses nothing: the report names it as `failed`, and
the response can be read and pushed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from hostedagent.agents.exits import ExitInTurn, exits_as_errors
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure

logger = logging.getLogger(__name__)

DeliveryStatus: TypeAlias = Literal["delivered", "skipped", "failed"]

ATTEMPTS: Final = 3
SECONDS: Final = 10.0
PAUSE: Final = 0.5


class DeliveryTarget(Protocol):
    """A target that answers are pushed to."""

    @property
    def name(self) -> str:
        """The name in reports."""
        ...

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        """Push an answer; `False` if it is not for this target, which is then skipped.

        Concurrency: called for many answers concurrently, and again after a failure: a target that must not repeat an
        answer has to remember the id of the response. Each target has a copy of its own.
        Exceptions: count as a failure; their text is not in the report.
        Cancellation: cancelled after `SECONDS`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of a delivery to one target.

    Args:
        status: `delivered`, `skipped` or `failed`.
        error: The type of the last error of a failed delivery.
    """

    target: str
    status: DeliveryStatus
    attempts: int = 1
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The results of a delivery to all targets."""

    response_id: str
    deliveries: tuple[Delivery, ...]

    def names(self, status: DeliveryStatus) -> list[str]:
        """The targets with a status."""
        return [one.target for one in self.deliveries if one.status == status]


async def deliver(
    response: Mapping[str, Any],
    caller: Caller,
    targets: Sequence[DeliveryTarget],
    *,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> DeliveryReport:
    """Push an answer to all targets concurrently. A failure is retried without delaying the others.

    Args:
        attempts: The maximum number of attempts for each target.
        pause: Seconds before the second attempt; twice as many before each further one.

    Raises:
        ValueError: `attempts` is less than one.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}.")
    response_id, named = str(response["id"]), [(target.name, target) for target in targets]
    made = [_push(response_id, deepcopy(response), caller, *one, attempts, pause) for one in named]
    return DeliveryReport(response_id, tuple(await asyncio.gather(*made)))


async def _push(
    response_id: str,
    response: Mapping[str, Any],
    caller: Caller,
    name: str,
    target: DeliveryTarget,
    attempts: int,
    pause: float,
) -> Delivery:
    error: BaseException | None = None
    for attempt in range(1, attempts + 1):
        try:
            with exits_as_errors():
                async with asyncio.timeout(SECONDS):
                    is_taken = await target.deliver(response, caller)
            return Delivery(name, "skipped" if is_taken is False else "delivered", attempt)
        except ExitInTurn as raised:
            # Also a task that the target had cancelled: the other targets must get the answer.
            error = raised.__cause__ or raised
        except Exception as raised:  # noqa: BLE001 - reported
            error = raised
        if attempt < attempts:
            await asyncio.sleep(pause * 2 ** (attempt - 1))
    assert error is not None
    log_failure(logger, f"The answer {response_id} was not delivered to {name}", error)
    return Delivery(name, "failed", attempts, type(error).__name__)
