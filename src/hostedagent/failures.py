"""The failures of turns: the tables that map the errors of a run to what callers see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_framework.exceptions import (
    AgentContentFilterException,
    AgentInvalidAuthException,
    AgentInvalidRequestException,
    ChatClientContentFilterException,
    ChatClientInvalidAuthException,
    ChatClientInvalidRequestException,
)

from hostedagent.errors import RequestError, causes, foreign_attribute
from hostedagent.outcomes import ErrorCode, Failed


class TurnFailed(RequestError):
    """The agent failed, and the protocol in use has no response object to report it."""

    type = "server_error"
    source = "upstream"

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.code = failed.code
        self.status = _FAILURE_STATUSES.get(failed.code, 500)


_FAILURE_STATUSES: Final[Mapping[str, int]] = {"rate_limit_exceeded": 429, "invalid_prompt": 400, "content_filter": 400}
"""Why a turn failed, as the status of an answer that is not streamed. Every other failure is 500."""

FAILURE_MESSAGES: dict[ErrorCode, str] = {
    "rate_limit_exceeded": "The model's service is limiting requests. Try again later.",
    "content_filter": "The request was refused by the model's content filter.",
    "invalid_prompt": "The model's service refused the request as invalid.",
    "context_length_exceeded": "The conversation is too long for the model. Shorten it, or start a new one.",
    "authentication_error": "The agent could not authenticate to the model's service.",
    "timeout": "The model's service did not answer in time.",
    "server_error": "The agent failed to produce a response.",
}

ERROR_TYPES: Final[Mapping[str, str]] = {
    "rate_limit_exceeded": "rate_limit_error",
    "content_filter": "invalid_request_error",
    "invalid_prompt": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "authentication_error": "authentication_error",
    "timeout": "server_error",
    "server_error": "server_error",
}
"""Error code to its `type`, as OpenAI has them."""

_BY_CLASS: tuple[tuple[type[BaseException], ErrorCode], ...] = (
    (ChatClientContentFilterException, "content_filter"),
    (AgentContentFilterException, "content_filter"),
    (ChatClientInvalidAuthException, "authentication_error"),
    (AgentInvalidAuthException, "authentication_error"),
    (TimeoutError, "timeout"),
)

# Anthropic's client raises these for every status from 400 to 499, so the status takes precedence if there is one.
_INVALID_REQUEST: tuple[type[BaseException], ...] = (ChatClientInvalidRequestException, AgentInvalidRequestException)

_BY_STATUS: dict[int, ErrorCode] = {
    400: "invalid_prompt",
    401: "authentication_error",
    403: "authentication_error",
    408: "timeout",
    413: "invalid_prompt",
    422: "invalid_prompt",
    429: "rate_limit_exceeded",
    504: "timeout",
}

_BY_PROVIDER_CODE: dict[str, ErrorCode] = {
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "rate_limit_exceeded": "rate_limit_exceeded",
    "rate_limit_error": "rate_limit_exceeded",
    "insufficient_quota": "rate_limit_exceeded",
    "invalid_prompt": "invalid_prompt",
    "context_length_exceeded": "context_length_exceeded",
    "invalid_api_key": "authentication_error",
    "authentication_error": "authentication_error",
    "permission_error": "authentication_error",
    "timeout": "timeout",
    "timeout_error": "timeout",
}


def failed(code: ErrorCode) -> Failed:
    """The outcome of a turn that failed for the reason `code`, with the message that callers see."""
    return Failed(code, FAILURE_MESSAGES[code])


def error_object(failure: Failed) -> dict[str, Any]:
    """The `error` of a response that failed."""
    return {
        "code": failure.code,
        "message": failure.message,
        "type": ERROR_TYPES[failure.code],
        "param": failure.param,
    }


def failure(error: BaseException) -> Failed:
    """The outcome that a caller sees for an error that a run raised.

    Searches the chain of causes for a provider's error code, an Agent Framework exception class, an HTTP status, then
    the class of invalid requests; anything else is `server_error`. The text of the exception is never used.
    """
    chain = list(causes(error))
    for lookup in (_provider_code, _streamed_code, _class_code, _status_code):
        for link in chain:
            if (code := lookup(link)) is not None:
                return failed(code)
    return failed(
        "invalid_prompt" if any(issubclass(type(link), _INVALID_REQUEST) for link in chain) else "server_error"
    )


def provider_failure(code: str | None) -> Failed:
    """The outcome for error content that names a provider's error code."""
    return failed(_BY_PROVIDER_CODE.get(code or "", "server_error"))


def _provider_code(error: BaseException) -> ErrorCode | None:
    """OpenAI's errors have a `code`, Anthropic's only a `type`. An error inside a stream has the status 200."""
    for code in (foreign_attribute(error, "code"), foreign_attribute(error, "type")):
        if type(code) is str and code in _BY_PROVIDER_CODE:
            return _BY_PROVIDER_CODE[code]
    return None


# OpenAI's client raises an error event of a stream as a plain error, with the code only at the start of its text.
# Can go when it raises the SDK's error, or sets a code (no issue of it is known upstream).
_STREAMED: Final = "OpenAI streaming error: "


def _streamed_code(error: BaseException) -> ErrorCode | None:
    text = error.args[0] if type(error) is RuntimeError and error.args else None
    if not isinstance(text, str) or not text.startswith(_STREAMED):
        return None
    return _BY_PROVIDER_CODE.get(text[len(_STREAMED) :].partition(":")[0])


def _class_code(error: BaseException) -> ErrorCode | None:
    return next((code for kind, code in _BY_CLASS if issubclass(type(error), kind)), None)


def _status_code(error: BaseException) -> ErrorCode | None:
    status = foreign_attribute(error, "status_code")
    return _BY_STATUS.get(status) if type(status) is int else None
