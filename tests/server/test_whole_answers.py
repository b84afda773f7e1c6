"""A caller who waits for a whole answer while the process ends gets the stored response, or learns to ask again."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from hostedagent import AgentHost
from hostedagent.engine.context import TurnContext
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.identity import current_context
from hostedagent.server.agentserver.app import App
from hostedagent.server.agentserver.middleware import AdmissionMiddleware
from hostedagent.testing import InProcessClient, ScriptedAgent

R = "caresp_" + "w" * 50


class EndingSdk:
    """The SDK's app in a process that ends: it cancels whoever waits, and answers a GET with this status."""

    def __init__(self, shutdown: GracefulShutdown, status: int, *, ends: bool = True) -> None:
        self._shutdown, self._status, self._ends = shutdown, status, ends
        self.asked: list[Scope] = []
        self.bodies: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            context = current_context()
            assert isinstance(context, TurnContext)
            context.continuation.response_id = R
            if self._ends:
                self._shutdown.begin()
            raise asyncio.CancelledError
        self.asked.append(scope)
        self.bodies += [await receive(), await receive()]
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"id": R, "status": "completed"}).encode()})


def ending(status: int, *, ends: bool = True) -> tuple[InProcessClient, EndingSdk]:
    app = AgentHost(ScriptedAgent(["never"])).app
    assert isinstance(app, App)
    given = cast("Any", app.user_middleware[-1].kwargs)
    sdk = EndingSdk(given["engine"].services.shutdown, status, ends=ends)
    return InProcessClient(AdmissionMiddleware(sdk, **given)), sdk


async def test_the_stored_response_is_the_answer() -> None:
    client, sdk = ending(200)
    reply = await client.post("/responses?api-version=v1", json={"input": "hi"})

    assert (reply.status, reply.json()) == (200, {"id": R, "status": "completed"})
    (asked,) = sdk.asked
    assert (asked["method"], asked["path"], asked["raw_path"], asked["query_string"]) == (
        "GET",
        f"/responses/{R}",
        f"/responses/{R}".encode(),
        b"",
    )
    assert [row["type"] for row in sdk.bodies] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_response_that_cannot_be_read_is_asked_for_again_later(status: int) -> None:
    client, _ = ending(status)
    reply = await client.post("/responses", json={"input": "hi"})

    assert reply.status == 503
    assert reply.json()["error"]["message"] == "The server is being stopped. Send the request again."
    assert int(reply.headers["retry-after"]) > 0


async def test_the_conversation_of_a_request_that_was_cancelled_is_free() -> None:
    client, sdk = ending(200, ends=False)
    body = {"input": "hi", "conversation": "conv_1"}
    replies = [await client.post("/responses", json=body) for _ in range(2)]

    # The client has left: nothing is sent, and the second request is as welcome as the first.
    assert [(reply.status, reply.body) for reply in replies] == [(replies[0].status, b"")] * 2
    assert sdk.asked == []
