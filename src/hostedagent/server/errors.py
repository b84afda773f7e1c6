"""Answers requests for unknown routes as JSON errors: clients show the message of a JSON body and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from hostedagent.errors import MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request

STATUSES: Final = (404, 405)

_BY_DEFAULT: Final = ("Not Found", "Method Not Allowed")

_NOT_SERVED: Final = {
    "chat/completions": (
        "Use POST /responses, in the openai library client.responses.create(...); "
        "AgentHost(doors=[ChatCompletions()]) has it."
    ),
    "completions": "Use POST /responses, the Responses API.",
    "conversations": "Pass any conversation id with POST /responses; AgentHost(driver='starlette') has these routes.",
    "embeddings": "Only the agent is served, with POST /responses.",
    "moderations": "Only the agent is served, with POST /responses.",
    "batches": "Use POST /responses with background=true.",
    "files": "Send files inside the input of POST /responses, as file_data.",
    "uploads": "Send files inside the input of POST /responses, as file_data.",
    "containers": "Send files inside the input of POST /responses, as file_data.",
    "vector_stores": "Only the agent is served, with POST /responses.",
    "assistants": "Use POST /responses with previous_response_id or conversation.",
    "threads": "Use POST /responses with previous_response_id or conversation.",
    "images": "Only the agent is served, with POST /responses.",
    "audio": "Only the agent is served, with POST /responses.",
    "videos": "Only the agent is served, with POST /responses.",
    "realtime": "Use POST /responses with stream=true.",
    "chat": "Use POST /responses, the Responses API.",
    "messages": "Use POST /responses, the Responses API.",
}
"""Routes of OpenAI's API that clients try, and the alternative here."""

_VERSIONS: Final = ("openai/v1/", "v1/")


async def unknown_route(request: Request, error: Exception) -> JSONResponse:
    """The error for an unknown route, or for a method that the route does not have."""
    assert isinstance(error, HTTPException)
    message = _message(request, error) if error.detail in _BY_DEFAULT else error.detail
    refusal = NotFound(message) if error.status_code == 404 else MethodNotAllowed(message)
    return JSONResponse(refusal.body(), error.status_code, error.headers)


def _message(request: Request, error: HTTPException) -> str:
    path = request.url.path.strip("/")
    called = f"{request.method} {request.url.path}"
    if allowed := (error.headers or {}).get("Allow"):
        return f"{called} is not served by this host. The methods of this path are {allowed}."
    version = next((version for version in _VERSIONS if f"{path}/".startswith(version)), "")
    route = path[len(version) :]
    for name, instead in _NOT_SERVED.items():
        if route == name or route.startswith(f"{name}/"):
            return f"{called} is not served by this host. {instead}"
    return f"{called} is not served by this host. The agent is served at POST /responses."
