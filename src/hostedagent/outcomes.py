"""The outcomes of a turn."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

ErrorCode = Literal[
    "rate_limit_exceeded",
    "content_filter",
    "invalid_prompt",
    "context_length_exceeded",
    "authentication_error",
    "timeout",
    "server_error",
]
"""The codes that a failed turn can carry in `response.error.code`."""

IncompleteReason = Literal["max_output_tokens", "content_filter", "consent_required", "steered"]

StopCause = Literal["client", "steered", "shutdown", "lost"]
"""Why a turn was stopped: the caller left or cancelled, a newer input came, the process ends, another turn took it."""


class Completed(Struct, frozen=True):
    """The run ended by itself and everything was saved."""


class Incomplete(Struct, frozen=True):
    """The run ended before its work was done; its output is kept."""

    reason: IncompleteReason


class Failed(Struct, frozen=True):
    """The run failed; `message` is written for the caller and never contains an exception's text.

    `param` names the request field that the failure is about, if any.
    """

    code: ErrorCode
    message: str
    param: str | None = None


class Cancelled(Struct, frozen=True):
    """The turn was stopped from outside."""

    cause: StopCause


Outcome: TypeAlias = Completed | Incomplete | Failed | Cancelled
