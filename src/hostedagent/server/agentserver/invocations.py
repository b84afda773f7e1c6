"""The SDK's host of the Invocations protocol: the app inherits from it, and its routes hand over to a door.

The SDK reads the ids of invocation and session, adds them to its spans and baggage, and calls a handler that returns a
response. The one that it gets here serves the request itself when it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from hostedagent.errors import ConfigurationError
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from azure.ai.agentserver.invocations import InvocationAgentServerHost
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from starlette.websockets import WebSocket


def invocation_host(
    openapi: Mapping[str, Json] | None, asyncapi: Mapping[str, Json] | str | None
) -> type[InvocationAgentServerHost]:
    """The SDK's host with documents; a string is YAML.

    Raises:
        ConfigurationError: The package is not installed.
    """
    try:
        from azure.ai.agentserver.invocations import InvocationAgentServerHost
    except ImportError as error:
        raise ConfigurationError("Invocations() on the SDK's host needs hostedagent[invocations].") from error

    class Documented(InvocationAgentServerHost):
        def get_openapi_spec(self) -> dict[str, Any] | None:
            return dict(openapi) if openapi is not None else None

        def get_asyncapi_spec_json(self) -> dict[str, Any] | None:
            return None if asyncapi is None or isinstance(asyncapi, str) else dict(asyncapi)

        def get_asyncapi_spec_yaml(self) -> str | None:
            return asyncapi if isinstance(asyncapi, str) else None

    return Documented


def hand_over(
    app: Starlette,
    *,
    create: ASGIApp,
    retrieve: ASGIApp,
    cancel: ASGIApp,
    connect: Callable[[WebSocket], Awaitable[None]],
) -> None:
    """Let a door answer the requests on the routes of the SDK's host."""
    from azure.ai.agentserver.invocations import InvocationAgentServerHost

    assert isinstance(app, InvocationAgentServerHost)
    app.invoke_handler(_handler(create))
    app.get_invocation_handler(_handler(retrieve))
    app.cancel_invocation_handler(_handler(cancel))

    async def serve(socket: WebSocket) -> None:
        await connect(socket)

    app.ws_handler(serve)


def _handler(endpoint: ASGIApp) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return _HandedOver(endpoint)

    return handle


class _HandedOver(Response):
    """Serves a request when it is sent, with the headers that the SDK has added."""

    def __init__(self, endpoint: ASGIApp) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        added = [row for row in self.raw_headers if row[0].startswith(b"x-")]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message = {**message, "headers": [*message["headers"], *(row for row in added if row[0] not in names)]}
            await send(message)

        await self._endpoint(scope, receive, with_headers)
