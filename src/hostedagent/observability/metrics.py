"""Metrics with OpenTelemetry's API, which has no effect until the process has a meter provider.

No attribute contains content, input of a caller or an id, so the number of series stays small.
"""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from opentelemetry import metrics

SCOPE: Final = "hostedagent"
"""The name of the instrumentation scope of meter and tracer."""

OUTCOME: Final = "hostedagent.outcome"
REASON: Final = "hostedagent.outcome.reason"
ERROR_TYPE: Final = "error.type"
DOOR: Final = "hostedagent.door"

StoreName: TypeAlias = Literal["responses", "state"]


class Instruments:
    """The instruments of a meter."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.turns = meter.create_counter("hostedagent.turns", "{turn}", "Turns that ended, by outcome and door.")
        self.turn_duration = meter.create_histogram(
            "hostedagent.turn.duration", "s", "From the beginning of a turn until its end was saved."
        )
        self.queue_waiting = meter.create_gauge(
            "hostedagent.queue.waiting", "{turn}", "Background turns that wait in the queue of all replicas."
        )
        self.queue_oldest = meter.create_gauge(
            "hostedagent.queue.oldest", "s", "How long the first background turn in the queue has waited."
        )
        self.queue_wait = meter.create_histogram(
            "hostedagent.queue.wait", "s", "How long a background turn waited in the queue before it began."
        )
        self.webhook_attempts = meter.create_counter(
            "hostedagent.webhook.attempts", "{attempt}", "Attempts to deliver a webhook, by result."
        )
        self.webhook_delay = meter.create_histogram(
            "hostedagent.webhook.delay", "s", "From the end of a turn until its webhook was delivered."
        )
        self.left_out = meter.create_counter(
            "hostedagent.contents.left_out",
            "{content}",
            "Contents of a run that no item tells of, and stored items that the model sees as a placeholder.",
        )
        self.store_duration = meter.create_histogram(
            "hostedagent.store.duration", "s", "Calls of the response store and the state store."
        )


INSTRUMENTS = Instruments(metrics.get_meter(SCOPE))


def count_turn(attributes: dict[str, str], seconds: float) -> None:
    """Count a turn that ended."""
    INSTRUMENTS.turns.add(1, attributes)
    INSTRUMENTS.turn_duration.record(seconds, attributes)


def measure_queue(waiting: int, oldest: float) -> None:
    """Observe the queue of background turns."""
    INSTRUMENTS.queue_waiting.set(waiting)
    INSTRUMENTS.queue_oldest.set(oldest)


def measure_wait(seconds: float) -> None:
    """Record how long a turn waited in the queue."""
    INSTRUMENTS.queue_wait.record(seconds)


def count_webhook(result: Literal["delivered", "failed", "abandoned"]) -> None:
    """Count an attempt to deliver a webhook."""
    INSTRUMENTS.webhook_attempts.add(1, {"hostedagent.webhook.result": result})


def measure_webhook(seconds: float) -> None:
    """Measure how long it took to deliver a webhook."""
    INSTRUMENTS.webhook_delay.record(seconds)


def count_left_out(how: Literal["dropped", "placeholder"], kind: str) -> None:
    """Count a dropped content, or an item that the model sees as a line of text."""
    INSTRUMENTS.left_out.add(1, {"hostedagent.left_out": how, "hostedagent.content.type": kind})


class StoreCall:
    """Times one call of a store: `with StoreCall("state", "get"): ...`."""

    __slots__ = ("_operation", "_started", "_store")

    def __init__(self, store: StoreName, operation: str) -> None:
        self._store = store
        self._operation = operation
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        attributes = {"hostedagent.store": self._store, "hostedagent.store.operation": self._operation}
        if kind is not None:
            attributes[ERROR_TYPE] = kind.__qualname__
        INSTRUMENTS.store_duration.record(perf_counter() - self._started, attributes)
