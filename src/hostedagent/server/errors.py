"""Routes that there are not, told as every other error: clients show what a JSON body says, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from hostedagent.errors import InvalidRequest

if TYPE_CHECKING:
    from starlette.requests import Request

STATUSES: Final = (404, 405)

_BY_DEFAULT: Final = ("Not Found", "Method Not Allowed")


async def unknown_route(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that no route takes, or not by this method."""
    assert isinstance(error, HTTPException)
    told = error.detail
    if told in _BY_DEFAULT:
        told = (
            f"There is no {request.method} {request.url.path!r} here. "
            "Responses are at /responses; a client's base_url ends before that, without /v1."
        )
    content = InvalidRequest(told).body()
    content["error"]["code"] = "not_found" if error.status_code == 404 else "method_not_allowed"
    return JSONResponse(content, error.status_code, error.headers)
