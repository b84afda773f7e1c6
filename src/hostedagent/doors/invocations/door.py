"""The Invocations protocol: an application's own JSON, whole or streamed, in a session of the platform.

The session is the conversation, unless the body names one. The package's own routes import nothing of the SDK; on the
SDK's host, the app also inherits from `InvocationAgentServerHost`, which provides the routes and calls this door.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from hostedagent.doors.door import Door, Entry
from hostedagent.doors.invocations.documents import ASYNCAPI, OPENAPI
from hostedagent.doors.invocations.shape import (
    default_answer,
    default_body,
    default_events,
    default_frames,
    error_event,
)
from hostedagent.doors.questions import failure_of
from hostedagent.engine.hooks import BeforeRun
from hostedagent.errors import Conflict, NotFound
from hostedagent.failures import TurnFailed
from hostedagent.identity import Caller
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.statuses import RUNNING
from hostedagent.protocol.types import Json
from hostedagent.server.admission import client_headers, container_session, headers_of
from hostedagent.server.exchange import Exchange
from hostedagent.server.messages import AnswerMessage
from hostedagent.server.turn import TransformEvent, Turn

ParseInvocation: TypeAlias = Callable[[Mapping[str, Json]], Mapping[str, Any]]
"""Converts an application's own JSON to the body of a create-response request. Invalid JSON raises a `RequestError`."""

ID_HEADER: Final = "x-agent-invocation-id"
ROOT: Final = "/invocations"

_ID: Final = re.compile(r"[a-zA-Z0-9\-_.:]{1,256}")


class Invocations(Door):
    """The Invocations protocol: `/invocations` and `/invocations_ws`.

    Args:
        parse: Converts an application's own JSON; by default it has `input` (or `message`), `conversation`, `stream`,
            `background`, `metadata`, `options`, and `responses` to the questions of an earlier invocation.
        answer: The body of a whole answer; by default `response`, its text, with `status`, `questions` and ids.
        render: The frames of a stream; by default the events `delta`, `question`, and `done` or `error`.
        openapi: The document at `/invocations/docs/openapi.json`; by default that of the default shape.
        asyncapi: The document at `/invocations/docs/asyncapi.json`, or as a string at `asyncapi.yaml`; by default that
            of the default shape.
        before_run: As for every door.
        transform_event: As for every door.
    """

    name = "invocations"

    def __init__(
        self,
        *,
        parse: ParseInvocation | None = None,
        answer: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        render: Callable[[Turn], AsyncGenerator[bytes]] | None = None,
        openapi: Mapping[str, Any] | None = None,
        asyncapi: Mapping[str, Any] | str | None = None,
        before_run: BeforeRun | None = None,
        transform_event: TransformEvent | None = None,
    ) -> None:
        super().__init__(ROOT, before_run=before_run, transform_event=transform_event)
        self._parse = parse or default_body
        self._answer = answer or default_answer
        self._render = render or default_frames
        if parse is None:
            openapi, asyncapi = openapi or OPENAPI, asyncapi or ASYNCAPI
        self._documents: Mapping[str, Mapping[str, Any] | str | None] = {
            "openapi.json": openapi,
            "asyncapi.yaml" if isinstance(asyncapi, str) else "asyncapi.json": asyncapi,
        }

    def parse(self, fields: Mapping[str, Json], exchange: Exchange) -> Mapping[str, Any]:
        """Parse an invocation; its session is its conversation, unless it names one."""
        return self.body(fields, self.session_of(exchange.scope))

    def body(self, fields: Mapping[str, Json], session_id: str) -> Mapping[str, Any]:
        """The create-response body of an invocation in a session."""
        body = self._parse(fields)
        continues = body.get("conversation") or body.get("previous_response_id") or body.get("store") is False
        return body if continues else {**body, "conversation": session_id}

    def session_of(self, scope: Scope) -> str:
        """The session of a request or a connection: the one that it names, the container's, or a new one."""
        known = scope.get("state", {}).get("session_id")  # The SDK's host has read it.
        given = QueryParams(scope.get("query_string", b"")).get("agent_session_id")
        return known or _valid(given or container_session())

    def render(self, turn: Turn) -> AsyncGenerator[bytes]:
        """The frames of a stream."""
        return self._render(turn)

    def answer(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a whole answer.

        Raises:
            TurnFailed: The agent failed.
        """
        if (failed := failure_of(response)) is not None:
            raise TurnFailed(failed)
        return self._answer(response)

    def routes(self, entry: Entry) -> Sequence[BaseRoute]:
        """The routes of the protocol: create, retrieve, cancel, the WebSocket and the documents."""
        root, one = f"{entry.prefix}{ROOT}", f"{entry.prefix}{ROOT}/{{invocation_id}}"
        return (
            Route(root, entry.endpoint(partial(self.serve, entry)), methods=["POST"]),
            Route(one, entry.endpoint(partial(self.retrieve, entry)), methods=["GET"]),
            Route(f"{one}/cancel", entry.endpoint(partial(self.cancel, entry)), methods=["POST"]),
            WebSocketRoute(f"{root}_ws", entry.socket(partial(self.connect, entry), error_event)),
            Route(f"{root}/docs/{{document}}", entry.endpoint(self.document), methods=["GET"]),
        )

    def sdk_host(self) -> type:
        """The SDK's host of the protocol, with this door's documents."""
        from hostedagent.server.agentserver.invocations import invocation_host

        return invocation_host(self._documents)

    def attach(self, app: Starlette, entry: Entry) -> None:
        """Serve the routes of the SDK's host, which passes requests to this door."""
        from hostedagent.server.agentserver.invocations import hand_over

        hand_over(app, self.routes(entry))

    def connect(self, entry: Entry, socket: WebSocket, caller: Caller) -> AnswerMessage:
        """Answer the messages of a WebSocket: invocations of one session, with the events of the default shape."""
        session_id, named = self.session_of(socket.scope), client_headers(headers_of(socket.scope))

        async def answer(data: bytes) -> AsyncGenerator[Mapping[str, Json]]:
            body = {**self.body(await entry.message(data), session_id), "stream": True}
            begun = entry.turns.begin(body, caller, session_id=session_id, client_headers=named)
            async with begun as turn, aclosing(default_events(turn)) as events:
                async for event in events:
                    yield event

        return answer

    async def document(self, exchange: Exchange) -> None:
        """Answer with a document of the protocol."""
        name = exchange.request.path_params["document"]
        if (document := self._documents.get(name)) is None:
            error = NotFound(f"There is no document {name!r:.80}: Invocations(openapi=..., asyncapi=...).")
            error.source = "upstream"  # The application has none.
            raise error
        if isinstance(document, str):
            await exchange.text(document, "application/yaml; charset=utf-8")
        else:
            await exchange.json(document)

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer an invocation. Its id is used once."""
        known = exchange.scope.get("state", {}).get("invocation_id")  # The SDK's host has read it.
        invocation_id = known or _valid(exchange.headers.get(ID_HEADER))
        session_id = exchange.session_id = self.session_of(exchange.scope)
        exchange.add_header(ID_HEADER, invocation_id)
        body, response_id = self.body(await entry.fields(exchange), session_id), new_item_id("caresp", session_id)
        async with entry.once(exchange.caller, _key(invocation_id), response_id) as earlier:
            if earlier is not None:
                raise Conflict(f"There is an invocation with the id {invocation_id!r}.")
            await self.respond(entry, exchange, body, response_id=response_id, session_id=session_id)

    async def retrieve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer with an earlier invocation, also while it runs."""
        response = await entry.turns.retrieve(await _found(entry, exchange), exchange.caller)
        is_over = response["status"] not in RUNNING
        await exchange.json(self._answer(response) if is_over else {"status": "in_progress"})

    async def cancel(self, entry: Entry, exchange: Exchange) -> None:
        """Cancel an invocation, and answer once it has ended."""
        response_id = await _found(entry, exchange)
        response = await entry.turns.cancel(response_id, exchange.caller, of_any_kind=True)
        await exchange.json({"status": response["status"]})


def _valid(value: str | None) -> str:
    """The caller's id, or a new one."""
    return value if value is not None and _ID.fullmatch(value) else str(uuid.uuid4())


def _key(invocation_id: str) -> str:
    return f"invocation:{invocation_id}"


async def _found(entry: Entry, exchange: Exchange) -> str:
    """The response of the invocation in the path."""
    invocation_id = exchange.request.path_params["invocation_id"]
    exchange.session_id = None  # Only the answer to an invocation names its session.
    if _ID.fullmatch(invocation_id):
        exchange.add_header(ID_HEADER, invocation_id)
    use = await entry.responses.engine.services.sessions.keys.find(exchange.caller, _key(invocation_id))
    if use is None:
        raise NotFound(f"Invocation with id {invocation_id!r:.300} not found.")
    return use.response_id
