"""Error responses: a status and the error envelope."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request that is answered with an error.

    Attributes:
        param: The field that is wrong, where one is.
        headers: Headers of the answer, such as the `ETag` of a failed precondition.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    @property
    def envelope(self) -> dict[str, object]:
        """The body of the answer: `{"error": {"code", "message", "param"?}}`."""
        error = {"code": self.code, "message": self.message}
        return {"error": error if self.param is None else {**error, "param": self.param}}


def bad_request(message: str, param: str | None = None) -> Refusal:
    """The request itself is wrong (400)."""
    return Refusal(400, "invalid_request", message, param=param)


def not_found(message: str) -> Refusal:
    """The caller has no such thing (404); someone else's looks the same."""
    return Refusal(404, "not_found", message)


def conflict(message: str) -> Refusal:
    """The thing is there already (409)."""
    return Refusal(409, "conflict", message)
