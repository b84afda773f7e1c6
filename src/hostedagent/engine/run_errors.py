"""The outcomes of turns that raised. Only the message of a `RequestError` reaches the caller."""

from __future__ import annotations

import logging
from typing import Final

from hostedagent.agents.pump import Silent, Stopped
from hostedagent.engine.output import EndedEarly
from hostedagent.errors import RequestError
from hostedagent.failures import failure
from hostedagent.observability.logging import log_failure, never_raising
from hostedagent.outcomes import Cancelled, Failed, Outcome
from hostedagent.stores.base import StoreUnavailable

logger = logging.getLogger(__name__)

LOST: Final = Failed(
    "server_error", "The turn made no progress for too long, and another turn has taken its conversation."
)
SILENT: Final = Failed("timeout", "The agent produced no output within the timeout.")


def outcome_of(error: Exception, response_id: str, *, may_be_left: bool) -> Outcome:
    """The outcome of a turn whose run raised an error.

    Args:
        may_be_left: Whether a turn that lost its store or its conversation is left, to be resumed.
    """
    match error:
        case Stopped(cause="lost") if not may_be_left:
            return LOST
        case Stopped():
            return Cancelled(error.cause)
        case EndedEarly():
            return error.outcome
        case Silent():
            with never_raising():
                logger.error("The run of %s produced nothing within HostOptions.run_timeout.", response_id)
            return SILENT
        case StoreUnavailable() if may_be_left:
            log_failure(logger, f"The run of {response_id} is resumed later", error)
            return Cancelled("lost")
        case RequestError():
            return Failed("invalid_prompt", error.message, error.param)
        case _:
            log_failure(logger, f"The run of {response_id} failed", error)
            return failure(error)
