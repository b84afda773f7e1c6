"""`InvocationAgentServerHost` as the SDK's tests use it.

On the SDK's host our app inherits from it: the tests register their handlers on the app itself, past all of our layers.
On our own routes a handler becomes an agent: its request arrives as the text of an input, and so does its response.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any, Final
from unittest.mock import patch

import azure.ai.agentserver.invocations as sdk
from agent_framework import AgentResponse, AgentResponseUpdate, BaseAgent, Content, ResponseStream
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from hostedagent import AgentHost, current_turn
from hostedagent.doors import Invocations
from hostedagent.testing import ScriptedAgent

from .loops import Served

_SDK_HOST: Final = sdk.InvocationAgentServerHost


class InvocationAgentServerHost:
    """Takes the place of the SDK's host in its tests."""

    def __new__(
        cls,
        *,
        openapi_spec: dict[str, Any] | None = None,
        asyncapi_spec_json: dict[str, Any] | None = None,
        asyncapi_spec_yaml: str | None = None,
        **given: Any,
    ) -> Any:
        """Our app on the SDK's host, or this stand-in for it on the own routes."""
        door = Invocations(openapi=openapi_spec, asyncapi=asyncapi_spec_json or asyncapi_spec_yaml, parse=dict)
        if os.environ["SUBSTITUTE_DRIVER"] == "agentserver":
            with patch("azure.ai.agentserver.invocations.InvocationAgentServerHost", _SDK_HOST):
                return AgentHost(ScriptedAgent(), doors=[door]).app
        made = super().__new__(cls)
        made._use(door)
        return made

    def _use(self, door: Invocations) -> None:
        self._door = door
        self._handler: Any = None
        self._served = Served(self._made)

    def invoke_handler(self, handler: Any) -> Any:
        """Register the handler."""
        self._handler = handler
        return handler

    # Ours answer these: what a test registers is not asked.
    def get_invocation_handler(self, handler: Any) -> Any:
        """Do nothing."""
        return handler

    cancel_invocation_handler = shutdown_handler = get_invocation_handler

    def _made(self) -> Any:
        return AgentHost(_HandlerAgent(self._handler), doors=[self._door], driver="starlette").app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: its body goes in as text, and comes out as the handler wrote it."""
        if scope["type"] != "http" or scope["path"] != "/invocations" or scope["method"] != "POST":
            await self._served(scope, receive, _written(send) if scope["type"] == "http" else send)
            return
        parts: list[bytes] = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        headers = [row for row in scope["headers"] if row[0] not in (b"content-type", b"content-length")]
        kept = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        told = {"body": _text(b"".join(parts)), "headers": kept, "query": scope["query_string"].decode()}
        body = json.dumps({"input": json.dumps(told)}).encode()
        messages: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        scope = {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
        await self._served(scope, again, _written(send))


class _HandlerAgent(BaseAgent):
    """Runs a handler, and says what its response is."""

    def __init__(self, handler: Any) -> None:
        super().__init__(name="handler")
        self._handler = handler

    def run(self, messages: Any = None, *, stream: bool = False, session: Any = None, **options: Any) -> Any:
        """Run the handler once."""
        del session, options
        updates = ResponseStream(self._updates(messages), finalizer=AgentResponse.from_updates)
        return updates if stream else updates.get_final_response()

    async def _updates(self, messages: Any) -> AsyncIterator[AgentResponseUpdate]:
        told = json.loads(messages[-1].text)
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/invocations",
            "query_string": told["query"].encode(),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told["headers"].items()],
            "state": {
                "session_id": current_turn().sandbox_session_id,
                "invocation_id": told["headers"].get("x-agent-invocation-id"),
            },
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": base64.b64decode(told["body"])}

        response = await self._handler(Request(scope, receive))
        parts = response.body_iterator if hasattr(response, "body_iterator") else _only(response.body)
        body = b"".join([part.encode() if isinstance(part, str) else bytes(part) async for part in parts])
        answer = {"status": response.status_code, "body": _text(body), "type": response.headers.get("content-type")}
        yield AgentResponseUpdate(contents=[Content.from_text(json.dumps(answer))], role="assistant")


async def _only(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _written(send: Send) -> Send:
    """An answer as the handler wrote it; others as they are."""
    start: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            start.append(message)
            return
        if start:
            begun = start.pop()
            body: bytes = message["body"]
            headers: dict[bytes, bytes] = dict(begun["headers"])
            said: dict[str, Any] = json.loads(body) if headers.get(b"content-type") == b"application/json" else {}
            if "response_id" in said and said.get("response"):
                answer = json.loads(said["response"])
                body, begun["status"] = base64.b64decode(answer["body"]), answer["status"]
                headers[b"content-type"] = (answer["type"] or "text/plain").encode()
            headers[b"content-length"] = str(len(body)).encode()
            await send({**begun, "headers": list(headers.items())})
            message = {**message, "body": body}
        await send(message)

    return sent
