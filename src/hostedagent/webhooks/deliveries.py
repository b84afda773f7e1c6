"""Delivers the webhook of a host: records the start and the outcome of turns in the outbox, and sends due messages.

If a process dies before it records the outcome, another one reads it from the response store and sends the webhook.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, assert_never

from msgspec.structs import replace

from hostedagent.observability.logging import kinds_of, log_failure
from hostedagent.observability.metrics import count_webhook, measure_webhook
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import ENDED
from hostedagent.stores.base import Liveness, ResponseRepository, StoreError, StoreNotFound
from hostedagent.stores.outbox import Delivery, Outbox
from hostedagent.stores.poller import Poller
from hostedagent.webhooks.webhook import Webhook

if TYPE_CHECKING:
    from aiohttp import ClientSession

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Seconds between a replica's checks for due deliveries."""

CHECK_SECONDS: Final = 60.0
"""Seconds between checks of a turn without a recorded outcome."""

MOST_AT_ONCE: Final = 16
"""Maximum of messages that a replica sends concurrently."""

CLOSE_SECONDS: Final = 2.0
"""Seconds that the shutdown waits for messages in transit."""

_HOLD_SECONDS: Final = 20.0
"""Seconds beyond its timeout for which an attempt keeps other replicas away."""

_MOST_RETRY_AFTER: Final = 3_600.0
_GONE: Final = 410


class Deliveries:
    """The webhook of one host.

    Args:
        clock: The clock of the stores, in seconds since the epoch.
    """

    def __init__(
        self,
        webhook: Webhook,
        outbox: Outbox,
        responses: ResponseRepository,
        liveness: Liveness,
        clock: Callable[[], float],
    ) -> None:
        self._webhook = webhook
        self._outbox = outbox
        self._responses = responses
        self._liveness = liveness
        self._clock = clock
        self._poller = Poller(self._look, seconds=LOOK_SECONDS, wanted="webhooks that are due")
        self._sending: set[asyncio.Task[None]] = set()
        self._session: ClientSession | None = None

    def open(self) -> None:
        """Start sending due messages."""
        self._poller.open()

    async def aclose(self) -> None:
        """Stop sending after a short wait for messages in transit; the others stay in the outbox."""
        await self._poller.aclose()
        if self._sending:
            await asyncio.wait(self._sending, timeout=CLOSE_SECONDS)
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def begin(self, request: TurnRequest) -> None:
        """Record the start of a turn, so that its outcome is reported even if this process dies. Never raises."""
        if not request.store:
            return
        try:
            await self._outbox.begin(await self._delivery(request), delay=CHECK_SECONDS)
        except StoreError as error:  # Its outcome is still recorded.
            log_failure(logger, f"Noting the webhook of {request.response_id} failed", error)

    async def end(self, request: TurnRequest, outcome: Outcome) -> None:
        """Record the outcome of a turn; raises `StoreError` when the outbox is not available."""
        await self._outbox.end(replace(await self._delivery(request), event=event_of(outcome)))
        self._poller.wake()

    async def _delivery(self, request: TurnRequest) -> Delivery:
        return Delivery(response_id=request.response_id, caller=request.caller, owner=await self._liveness.name())

    async def _look(self) -> None:
        free = MOST_AT_ONCE - len(self._sending)
        if free <= 0:
            return
        taken = await self._outbox.take(limit=free, hold=self._webhook.timeout + _HOLD_SECONDS)
        for delivery in taken:
            task = asyncio.create_task(self._handle(delivery), name="hostedagent-webhook")
            self._sending.add(task)
            task.add_done_callback(self._sent)
        if len(taken) == free:
            self._poller.wake()

    def _sent(self, task: asyncio.Task[None]) -> None:
        if len(self._sending) == MOST_AT_ONCE:
            self._poller.wake()
        self._sending.discard(task)

    async def _handle(self, delivery: Delivery) -> None:
        """Send one message, or find out how its turn ended. A failed one is due again after its hold."""
        try:
            await (self._deliver(delivery) if delivery.event else self._resolve(delivery))
        except StoreError as error:
            log_failure(logger, f"The webhook of {delivery.response_id} is tried again", error)

    async def _resolve(self, delivery: Delivery) -> None:
        """Find out how a turn without a recorded outcome ended."""
        outbox = self._outbox
        try:
            response = await self._responses.get(delivery.caller, delivery.response_id)
        except StoreNotFound:
            # It is stored when it ends. If its process has died, or is unknown, it never was.
            if delivery.owner and not await self._liveness.is_dead(delivery.owner):
                await outbox.retry(delivery, delay=CHECK_SECONDS)
            else:
                await outbox.drop(delivery)
            return
        status = response.get("status")
        if status not in ENDED:
            await outbox.retry(delivery, delay=CHECK_SECONDS)
            return
        await outbox.end(replace(delivery, event=f"response.{status}"))
        self._poller.wake()

    async def _deliver(self, delivery: Delivery) -> None:
        webhook = self._webhook
        result, retry_after = await self._post(delivery)
        if result is None:
            count_webhook("delivered")
            measure_webhook(max(0.0, self._clock() - delivery.ended_at))
            await self._outbox.drop(delivery)
            return
        pauses = webhook.retry_after
        if result == _GONE or delivery.attempts > len(pauses):
            count_webhook("abandoned")
            logger.error(
                "The webhook of %s was given up after %d attempts at %s: %s.",
                delivery.response_id,
                delivery.attempts,
                webhook.host,
                result,
            )
            await self._outbox.bury(delivery)
            return
        count_webhook("failed")
        logger.warning("A webhook of %s failed at %s: %s.", delivery.response_id, webhook.host, result)
        pause = max(pauses[delivery.attempts - 1] * random.uniform(0.8, 1.2), retry_after)
        await self._outbox.retry(delivery, delay=pause)

    async def _post(self, delivery: Delivery) -> tuple[int | str | None, float]:
        """Send a message once; returns the reason of a failure or `None`, and the receiver's `Retry-After`."""
        from aiohttp import ClientError, ClientSession, ClientTimeout

        if self._session is None:
            self._session = ClientSession()
        webhook, event_id = self._webhook, f"evt_{delivery.response_id}"
        body = encode(
            {
                "id": event_id,
                "object": "event",
                "type": delivery.event,
                "created_at": int(delivery.ended_at),
                "data": {"id": delivery.response_id},
            }
        ).decode()
        headers = webhook.headers(event_id, datetime.now(UTC), body)
        try:
            async with self._session.post(
                webhook.url,
                data=body.encode(),
                headers=headers,
                # The operator has not chosen another address.
                allow_redirects=False,
                timeout=ClientTimeout(total=webhook.timeout),
            ) as reply:
                if 200 <= reply.status < 300:
                    return None, 0.0
                return reply.status, seconds_of(reply.headers.get("retry-after", ""), datetime.now(UTC))
        except (ClientError, TimeoutError, OSError) as error:
            return kinds_of(error), 0.0


def event_of(outcome: Outcome) -> str:
    """The type of the event that reports an outcome."""
    match outcome:
        case Completed():
            return "response.completed"
        case Incomplete():
            return "response.incomplete"
        case Failed() | Cancelled("shutdown"):
            return "response.failed"
        case Cancelled():
            return "response.cancelled"
        case _:
            assert_never(outcome)


def seconds_of(retry_after: str, now: datetime) -> float:
    """The seconds that a `Retry-After` asks for, also with a date: an hour at most, and none if it is invalid."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _MOST_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:  # One of the three formats of HTTP names no zone.
        until = until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), _MOST_RETRY_AFTER)


def noting(
    deliveries: Deliveries,
    before_run: Callable[[TurnRequest], TurnRequest | Awaitable[TurnRequest | None] | None] | None,
) -> Callable[[TurnRequest], Awaitable[TurnRequest | None]]:
    """A `before_run` that records the start of a turn, and then calls that of the application."""

    async def note(request: TurnRequest) -> TurnRequest | None:
        await deliveries.begin(request)
        changed = before_run(request) if before_run is not None else None
        return await changed if isinstance(changed, Awaitable) else changed

    return note
