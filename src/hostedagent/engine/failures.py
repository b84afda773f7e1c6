"""The outcomes of turns that raised. Only the message of a `RequestError` reaches the caller."""

from __future__ import annotations

import logging
from typing import Final

from hostedagent.agents.pump import Silent, Stopped
from hostedagent.engine.output import EndedEarly
from hostedagent.errors import RequestError
from hostedagent.failures import failure
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Cancelled, Failed, Outcome

logger = logging.getLogger(__name__)

LOST: Final = Failed(
    "server_error", "The turn made no progress for too long, and another turn has taken its conversation."
)
SILENT: Final = Failed("timeout", "The agent produced no output within the timeout.")


def outcome_of(error: Exception, response_id: str) -> Outcome:
    """The outcome of a turn whose run raised an error."""
    match error:
        case Stopped(cause="lost"):
            return LOST
        case Stopped():
            return Cancelled(error.cause)
        case EndedEarly():
            return error.outcome
        case Silent():
            logger.error("The run of %s produced nothing within HostOptions.run_timeout.", response_id)
            return SILENT
        case RequestError():
            return Failed("invalid_prompt", error.message, error.param)
        case _:
            log_failure(logger, f"The run of {response_id} failed", error)
            return failure(error)
