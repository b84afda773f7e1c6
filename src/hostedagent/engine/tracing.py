"""One span per turn, following OpenTelemetry's conventions for generative AI, and the metrics of its outcome.

The turn is a generator that several tasks consume, so the span is current only inside blocks that do not yield: while
the agent is created, where the run's task starts, and while the turn is saved. Agent Framework's spans nest under it.
It never contains content.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Final, assert_never

from opentelemetry import trace

from hostedagent.agents.run import model_name
from hostedagent.agents.usage import UsageCount
from hostedagent.observability.logging import RECEIVERS, set_log_ids
from hostedagent.observability.metrics import DOOR, ERROR_TYPE, OUTCOME, REASON, SCOPE, count_turn
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.request.turn_request import TurnRequest

TRACER = trace.get_tracer(SCOPE)

OPERATION: Final = "invoke_agent"

_NOTHING: Final = nullcontext()

_AT_START: Final = {"gen_ai.operation.name": OPERATION, "gen_ai.provider.name": "microsoft.agent_framework"}
"""Attributes that samplers may need at the start of the span."""


class TurnSpan:
    """The span of one turn.

    Concurrency: used by one turn. Exceptions: none. Cost: a handful of calls per turn if nothing records.
    """

    def __init__(self) -> None:
        self._span = trace.INVALID_SPAN
        self._started = 0.0
        self._door = ""
        self._is_open = False

    def begin(self, request: TurnRequest) -> None:
        """Start the span in the context of the request, so that a caller's `traceparent` is its parent."""
        self._started = perf_counter()
        self._is_open = True
        self._door = request.door
        RECEIVERS.look()
        self._span = TRACER.start_span(OPERATION, kind=trace.SpanKind.SERVER, attributes=_AT_START)
        if not self._span.is_recording():
            return
        self._span.set_attribute("gen_ai.response.id", request.response_id)
        self._span.set_attribute(DOOR, request.door)
        if request.conversation_id is not None:
            self._span.set_attribute("gen_ai.conversation.id", request.conversation_id)
        if request.sandbox_session_id:
            self._span.set_attribute("microsoft.session.id", request.sandbox_session_id)

    def meet(self, agent: object) -> None:
        """Name the agent and its model."""
        if not self._span.is_recording():
            return
        name = getattr(agent, "name", None)
        if isinstance(name, str) and name:
            self._span.update_name(f"{OPERATION} {name}")
            self._span.set_attribute("gen_ai.agent.name", name)
        if (model := model_name(agent)) is not None:
            self._span.set_attribute("gen_ai.request.model", model)

    def current(self, request: TurnRequest) -> AbstractContextManager[object]:
        """Make it the current span, and its turn that of log records. The block must not yield to the turn's reader."""
        set_log_ids(request.response_id, request.sandbox_session_id)
        if not self._span.get_span_context().is_valid:  # Neither this span nor its parent is recorded.
            return _NOTHING
        return trace.use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def end(self, outcome: Outcome, *, model: str | None, usage: UsageCount) -> None:
        """End the span; a second call does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        ending = _ending(outcome)
        count_turn({**ending, DOOR: self._door}, perf_counter() - self._started)
        if self._span.is_recording():
            self._span.set_attributes(ending)
            if model is not None:
                self._span.set_attribute("gen_ai.response.model", model)
            if (counts := usage.wire()) is not None:
                self._span.set_attribute("gen_ai.usage.input_tokens", counts["input_tokens"])
                self._span.set_attribute("gen_ai.usage.output_tokens", counts["output_tokens"])
            if isinstance(outcome, Failed):  # Without its message, which may quote input of the caller.
                self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


def _ending(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Completed():
            return {OUTCOME: "completed"}
        case Incomplete(reason):
            return {OUTCOME: "incomplete", REASON: reason}
        case Failed(code):
            return {OUTCOME: "failed", ERROR_TYPE: code}
        case Cancelled(cause):
            return {OUTCOME: "cancelled", REASON: cause}
        case _:
            assert_never(outcome)
