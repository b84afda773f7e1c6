"""Derives the outcome of a run from its updates: finish reason, model and failures inside the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from hostedagent.agents.model_calls import ModelCalls
from hostedagent.errors import foreign_attribute
from hostedagent.failures import provider_failure
from hostedagent.outcomes import Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.wire import wire_text

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


CUT_OFF: Final = Failed(
    "server_error", "The answer of the model's service ended before it was complete. Send the request again."
)


class Ending:
    """Watches the updates of one run.

    A tool loop consists of several model calls; the last one decides.
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self.calls = ModelCalls()
        self._finish_reason: object = None
        self._failed: Failed | None = None

    def see(self, update: AgentResponseUpdate) -> bool:
        """Inspect one update of the run; most have no effect.

        Returns:
            Whether the model's answer has failed or was cut off, so that the run must stop.
        """
        is_cut = self.calls.see(update)
        if update.finish_reason is not None:
            reason = cast("object", update.finish_reason)
            self._finish_reason = str.__str__(reason) if isinstance(reason, str) else None
            self._see_model(update)
        elif self.model is None and update.raw_representation is not None:
            self._see_model(update)
        if not reports_failure(update):
            return is_cut
        event = _event(update)
        error = foreign_attribute(foreign_attribute(event, "response") or event, "error")
        code = foreign_attribute(error, "code")
        self._failed = provider_failure(code if isinstance(code, str) else None)
        return True

    def _see_model(self, update: AgentResponseUpdate) -> None:
        model = foreign_attribute(update.raw_representation, "model")
        if isinstance(model, str) and model:
            self.model = wire_text(model)

    def outcome(self) -> Outcome:
        """The outcome of a run that ended without an exception."""
        if self._failed is not None:
            return self._failed
        if self.calls.is_cut:
            return CUT_OFF
        match self._finish_reason:
            case "length" | "model_context_window_exceeded":
                return Incomplete("max_output_tokens")
            case "content_filter":
                return Incomplete("content_filter")
            case _:
                return Completed()


# The client of OpenAI's Responses API yields `response.failed` as an update without a finish reason or an error, and
# the tool loop would go on to run the calls of the broken answer. Of a run that does not stream, `WholeRun` yields the
# failed response.
# Can go when it raises or says so (no issue of it is known upstream).
def reports_failure(update: AgentResponseUpdate) -> bool:
    """Whether this update reports that the model's answer has failed, so that the run must stop."""
    may_end = not update.contents or update.contents[-1].type == "usage"
    event = _event(update) if may_end else None
    if event is None:
        return False
    return foreign_attribute(event, "type") == "response.failed" or foreign_attribute(event, "status") == "failed"


def _event(update: AgentResponseUpdate) -> object:
    raw = update.raw_representation
    return foreign_attribute(raw, "raw_representation") or raw
