"""The spans of the latest turns, in memory, for the page: no collector is needed.

Only `hostedagent run` installs this, and only if it serves the page: the spans contain prompts and answers.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

MAX_TRACES: Final = 200
"""Traces that are kept; the oldest goes first."""

MAX_SPANS: Final = 1_000
"""Spans that are kept of one trace."""

_RESPONSE_ID: Final = "gen_ai.response.id"


class TraceRecorder(SpanProcessor):
    """Keeps finished and running spans by the response of their trace.

    Concurrency: spans may end in any thread.
    """

    def __init__(self) -> None:
        self._spans: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._traces: dict[str, int] = {}
        self._open: dict[int, ReadableSpan] = {}
        self._lock = Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Record a running span."""
        if (context := span.context) is not None:
            with self._lock:
                self._open[context.span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        """Record a finished span."""
        context = span.context
        if context is None:
            return
        with self._lock:
            self._open.pop(context.span_id, None)
            spans = self._spans.setdefault(context.trace_id, [])
            if len(spans) < MAX_SPANS:
                spans.append(span)
            if (response_id := _response_id(span)) is not None:
                self._traces[response_id] = context.trace_id
            while len(self._spans) > MAX_TRACES:
                oldest, _ = self._spans.popitem(last=False)
                self._traces = {name: one for name, one in self._traces.items() if one != oldest}

    def spans_of(self, response_id: str) -> list[dict[str, Any]]:
        """The spans of a response's turn in the order in which they began; times in ms since the first one began."""
        with self._lock:
            trace_id = self._trace_of(response_id)
            spans = list(self._spans.get(trace_id, ())) if trace_id is not None else []
            spans += [span for span in self._open.values() if span.context and span.context.trace_id == trace_id]
        spans.sort(key=lambda span: span.start_time or 0)
        first = spans[0].start_time or 0 if spans else 0
        return [_as_json(span, first) for span in spans]

    def _trace_of(self, response_id: str) -> int | None:
        for span in self._open.values():
            if span.context is not None and _response_id(span) == response_id:
                return span.context.trace_id
        return self._traces.get(response_id)


def exports_spans() -> bool:
    """Whether the process already has a tracer provider, which may export spans."""
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def install() -> TraceRecorder:
    """Record the spans of this process, in addition to existing exporters."""
    recorder = TraceRecorder()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(recorder)
    return recorder


def _response_id(span: ReadableSpan) -> str | None:
    """The response whose turn this span is; `None` for every other span."""
    found = (span.attributes or {}).get(_RESPONSE_ID) if span.kind is trace.SpanKind.SERVER else None
    return found if isinstance(found, str) else None


def _as_json(span: ReadableSpan, first: int) -> dict[str, Any]:
    start, end = span.start_time or first, span.end_time or time_ns()
    return {
        "id": f"{span.context.span_id:016x}" if span.context is not None else "",
        "parent": f"{span.parent.span_id:016x}" if span.parent is not None else None,
        "name": span.name,
        "start": (start - first) / 1e6,
        "ms": (end - start) / 1e6,
        "running": span.end_time is None,
        "failed": span.status.status_code is trace.StatusCode.ERROR,
        "attributes": _attributes(span.attributes or {}),
    }


def _attributes(found: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes, with JSON decoded."""
    return {name: _decoded(value) for name, value in found.items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
