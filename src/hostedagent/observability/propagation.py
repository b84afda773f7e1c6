"""The caller's trace: what `traceparent`, `tracestate` and `baggage` of a request say, by OpenTelemetry's propagators.

Only where nothing did it before: the SDK's host and an instrumented application read these headers by themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, trace

_HEADERS: Final = ("traceparent", "baggage")


@contextmanager
def caller_trace(headers: Mapping[str, str]) -> Generator[None]:
    """Make the caller's span and baggage current for a block."""
    if trace.get_current_span().get_span_context().is_valid or not any(name in headers for name in _HEADERS):
        yield
        return
    from opentelemetry import propagate  # It looks for propagators when it is imported.

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
