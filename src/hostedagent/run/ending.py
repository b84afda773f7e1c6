"""How a run ended by what its updates say: the finish reason, the model that answered, a failure inside the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.errors import provider_failure
from hostedagent.types import Completed, Failed, Incomplete, Outcome

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


class Ending:
    """Watches the updates of one run.

    A tool loop finishes several model calls; the last one counts.
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self._finish_reason: str | None = None
        self._failed: Failed | None = None

    def see(self, update: AgentResponseUpdate) -> None:
        """Take note of one update; nearly all say nothing."""
        if update.finish_reason is not None:
            self._finish_reason = str(update.finish_reason)
            self._see_model(update)
        elif self.model is None:
            self._see_model(update)
        elif not update.contents or update.contents[-1].type == "usage":
            self._see_failure(update)

    def _see_model(self, update: AgentResponseUpdate) -> None:
        model = getattr(update.raw_representation, "model", None)
        if isinstance(model, str) and model:
            self.model = model
        self._see_failure(update)

    # The client of OpenAI's Responses API yields `response.failed` as an update without a finish reason or an error.
    # Can go when it raises or says so: https://github.com/microsoft/agent-framework/issues
    def _see_failure(self, update: AgentResponseUpdate) -> None:
        raw = update.raw_representation
        event = getattr(raw, "raw_representation", raw)
        if getattr(event, "type", None) == "response.failed":
            error = getattr(getattr(event, "response", None), "error", None)
            self._failed = provider_failure(getattr(error, "code", None))

    def outcome(self) -> Outcome:
        """The outcome of a run that came to its end without raising."""
        if self._failed is not None:
            return self._failed
        match self._finish_reason:
            case "length":
                return Incomplete("max_output_tokens")
            case "content_filter":
                return Incomplete("content_filter")
            case _:
                return Completed()
