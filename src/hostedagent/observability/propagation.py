"""The caller's trace: what `traceparent`, `tracestate` and `baggage` of a request say, by OpenTelemetry's propagators.

Only where nothing did it before: the SDK's host and an instrumented application read these headers by themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry import context, trace

_NOTHING: Final = nullcontext()


def caller_trace(headers: Mapping[str, str]) -> AbstractContextManager[None]:
    """Make the caller's span and baggage current for a block."""
    has_trace = "traceparent" in headers or "baggage" in headers
    if not has_trace or trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    return _extracted(headers)


@contextmanager
def _extracted(headers: Mapping[str, str]) -> Generator[None]:
    from opentelemetry import propagate  # It looks for propagators when it is imported.

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
