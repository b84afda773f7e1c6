"""The SDK's host of the Invocations protocol: the app inherits from it, and its routes hand over to a door.

The SDK reads the ids of invocation and session, adds them to its spans and baggage, and calls a handler that returns a
response. The one that it gets here serves the request itself when it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response

from hostedagent.errors import ConfigurationError
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from azure.ai.agentserver.invocations import InvocationAgentServerHost
    from starlette.applications import Starlette
    from starlette.routing import BaseRoute, Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from starlette.websockets import WebSocket


def invocation_host(documents: Mapping[str, Mapping[str, Json] | str | None]) -> type[InvocationAgentServerHost]:
    """The SDK's host with documents, each under its name in the path.

    Raises:
        ConfigurationError: The package is not installed.
    """
    try:
        from azure.ai.agentserver.invocations import InvocationAgentServerHost
    except ImportError as error:
        raise ConfigurationError(
            "Invocations() on the SDK's host needs a package: pip install azure-ai-agentserver-invocations"
        ) from error

    def document(name: str) -> Any:
        found = documents.get(name)
        return dict(found) if isinstance(found, Mapping) else found

    class Documented(InvocationAgentServerHost):
        def get_openapi_spec(self) -> dict[str, Any] | None:
            return document("openapi.json")

        def get_asyncapi_spec_json(self) -> dict[str, Any] | None:
            return document("asyncapi.json")

        def get_asyncapi_spec_yaml(self) -> str | None:
            return document("asyncapi.yaml")

    return Documented


def hand_over(app: Starlette, routes: Sequence[BaseRoute]) -> None:
    """Let a door answer the requests on the routes of the SDK's host.

    Args:
        app: The app, which inherits from the SDK's host.
        routes: The door's own routes: create, retrieve, cancel, the WebSocket; others are the SDK's.
    """
    from azure.ai.agentserver.invocations import InvocationAgentServerHost

    assert isinstance(app, InvocationAgentServerHost)
    create, retrieve, cancel, connect, *_ = (cast("Route", route) for route in routes)
    app.invoke_handler(_handler(create.app))
    app.get_invocation_handler(_handler(retrieve.app))
    app.cancel_invocation_handler(_handler(cancel.app))

    async def serve(socket: WebSocket) -> None:
        await connect.endpoint(socket)

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
