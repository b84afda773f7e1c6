"""All errors that the host raises, and the responses that report them.

Only the messages of a `RequestError` are written for callers. Errors of the model's service: see `failures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, cast

MAX_MESSAGE: Final = 500
"""The longest message for a caller, in characters."""


class HostError(Exception):
    """Base class of all errors that hostedagent raises."""


class ConfigurationError(HostError):
    """The host was built or started with invalid values; the message says which, and what to do."""


class EffectUncertain(HostError):
    """A side effect started in a process that ended, so it is unknown whether it happened."""


class RequestError(HostError):
    """An error that the caller can correct.

    Args:
        message: What is wrong, which value, and what to do; sent to the caller unchanged.
        param: The request field that the message is about, for example `"text.format"`.

    Attributes:
        retry_after: Seconds after which the same request may succeed.
        source: The failed party, as in the platform's header; by default derived from the status.
    """

    status: int = 400
    code: str = "invalid_request_error"
    type: str = "invalid_request_error"
    source: Literal["user", "platform", "upstream"] | None = None
    retry_after: int | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        if len(message) > MAX_MESSAGE:  # Shortened, because it may quote a value of megabytes.
            message = f"{message[:MAX_MESSAGE]}..."
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON error body in the protocol's shape."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "code": self.code,
                "param": self.param,
            }
        }


def refusal(status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """An error response of the SDK in the host's form: one code per status, and the message names the field.

    Args:
        status: The HTTP status.
        error: The error object of the SDK's answer.
    """
    message, param = str(error.get("message") or "The request was refused."), error.get("param")
    if details := error.get("details"):  # Only the details say what is wrong with the body, with a path from its root.
        param = str(details[0].get("param") or "").removeprefix("$").removeprefix(".") or None
        message = ": ".join(filter(None, (param, str(details[0].get("message") or message))))
    code = str(error.get("code"))
    plain = {"message": message[:MAX_MESSAGE], "type": error.get("type") or RequestError.type, "param": param}
    plain["code"] = code if code in _CODES_OF.get(status, ()) else _CODES.get(status, code)
    return {**plain, **({"additionalInfo": error["additionalInfo"]} if "additionalInfo" in error else {})}


class InvalidRequest(RequestError):
    """A value is malformed, out of range, or contradicts another."""

    code = "invalid_value"


class UnsupportedOption(RequestError):
    """A field that the host does not allow callers to set."""

    code = "unsupported_parameter"


class Unauthenticated(RequestError):
    """The process is hosted and the request has no identity."""

    status = 401
    code = "unauthenticated"


class Forbidden(RequestError):
    """The server does not serve this host name, or pages of this origin."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """The id does not exist or belongs to another user; the response is the same."""

    status = 404
    code = "not_found"


class Conflict(RequestError):
    """Another turn uses the conversation, or an answer was already used."""

    status = 409
    code = "conflict"


class Busy(Conflict):
    """Another turn uses the conversation; the request may succeed once it has ended."""

    retry_after = 1


class PayloadTooLarge(RequestError):
    """The body is larger than the host accepts."""

    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(RequestError):
    """The body has a content type or encoding that the host does not read."""

    status = 415
    code = "unsupported_media_type"


class KeyReused(RequestError):
    """An `Idempotency-Key` was sent before with another body."""

    status = 422
    code = "idempotency_key_reused"


class TooManyTurns(RequestError):
    """The host already runs its maximum of turns; nothing was done.

    Args:
        message: As for `RequestError`.
        retry_after: Seconds after which a retry may succeed.
    """

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(RequestError):
    """A dependency of the host is not available; nothing was done, and a retry may succeed."""

    status = 503
    code = "server_error"
    type = "server_error"
    retry_after = 1


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


_CODES: Final[Mapping[int, str]] = {
    kind.status: kind.code
    for kind in (
        InvalidRequest,
        Unauthenticated,
        NotFound,
        MethodNotAllowed,
        Conflict,
        PayloadTooLarge,
        UnsupportedMediaType,
        TooManyTurns,
    )
}
"""HTTP status to the code of a refusal with it."""

_CODES_OF: Final[Mapping[int, tuple[str, ...]]] = {400: (InvalidRequest.code, UnsupportedOption.code)}
"""The statuses that have several codes."""


def foreign_attribute(value: object, name: str) -> object:
    """An attribute of a foreign object; `None` if it is absent or reading it raises."""
    try:
        return getattr(value, name, None)
    except BaseException:  # noqa: BLE001 - a property may raise anything, and the object is already the error of a failed run
        return None


def shown_cause(error: BaseException) -> Iterable[object]:
    """The cause of an error, else the context that a traceback shows."""
    is_hidden = foreign_attribute(error, "__suppress_context__") is True
    return [foreign_attribute(error, "__cause__") or (None if is_hidden else foreign_attribute(error, "__context__"))]


def causes(
    error: BaseException, links: Callable[[BaseException], Iterable[object]] = shown_cause
) -> Iterator[BaseException]:
    """An error and what `links` leads to, nearest first and each once: such chains may be cyclic."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    for link in waiting:
        if issubclass(type(link), BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield (found := cast("BaseException", link))
            waiting.extend(links(found))
