"""The Invocations protocol: an application's own JSON, whole or streamed, in a session of the platform.

The session is the conversation, unless the body names one. The package's own routes import nothing of the SDK; on the
SDK's host, the app also inherits from `InvocationAgentServerHost`, which provides the routes and calls this door.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from hostedagent.doors.door import Door, Entry
from hostedagent.doors.invocations.documents import ASYNCAPI, FIELDS, OPENAPI, OPTIONS, SENT
from hostedagent.doors.invocations.socket import error_event, serve_socket
from hostedagent.doors.questions import answer_item, failure_of, open_questions, shown_question, text_of
from hostedagent.engine.cancellation import StopSignals
from hostedagent.engine.hooks import BeforeRun
from hostedagent.errors import Conflict, InvalidRequest, NotFound, RequestError, Unavailable
from hostedagent.failures import TurnFailed
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import encode
from hostedagent.protocol.sse import event_data, write_frame
from hostedagent.protocol.statuses import RUNNING
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_array, is_object
from hostedagent.server.admission import container_session
from hostedagent.server.exchange import Exchange
from hostedagent.server.turns import TransformEvent, Turn

ParseInvocation: TypeAlias = Callable[[Mapping[str, Json]], Mapping[str, Any]]
"""Converts an application's own JSON to the body of a create-response request. Invalid JSON raises a `RequestError`."""

ID_HEADER: Final = "x-agent-invocation-id"
ROOT: Final = "/invocations"

_ID: Final = re.compile(r"[a-zA-Z0-9\-_.:]{1,256}")
_SESSION: Final = "agent_session_id"
_RENAMED: Final[Mapping[str, str]] = {
    "max_tokens": "max_output_tokens",
    "allow_multiple_tool_calls": "parallel_tool_calls",
}
"""Agent Framework's names of options, which are accepted too."""


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
        is_default = parse is None
        self._openapi = openapi or (OPENAPI if is_default else None)
        self._asyncapi = asyncapi or (ASYNCAPI if is_default else None)

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
        given = QueryParams(scope.get("query_string", b"")).get(_SESSION) or container_session()
        return known or _valid(given)

    def events(self, turn: Turn) -> AsyncGenerator[dict[str, Json]]:
        """The events of a stream over WebSocket."""
        return default_events(turn)

    def render(self, turn: Turn) -> AsyncGenerator[bytes]:
        """The frames of a stream."""
        return self._render(turn)

    def routes(self, entry: Entry) -> Sequence[BaseRoute]:
        """The routes of the protocol."""
        document = Route(f"{entry.prefix}{ROOT}/docs/{{document}}", entry.endpoint(self.document), methods=["GET"])
        return [document, *self._turn_routes(entry), WebSocketRoute(f"{entry.prefix}{ROOT}_ws", self._connect(entry))]

    def sdk_host(self) -> type:
        """The SDK's host of the protocol, with this door's documents."""
        from hostedagent.server.agentserver.invocations import invocation_host

        return invocation_host(self._openapi, self._asyncapi)

    def attach(self, app: Starlette, entry: Entry) -> None:
        """Serve the routes of the SDK's host, which passes requests to this door."""
        from hostedagent.server.agentserver.invocations import hand_over

        create, retrieve, cancel = (route.app for route in self._turn_routes(entry))
        hand_over(app, create=create, retrieve=retrieve, cancel=cancel, connect=self._connect(entry))

    def _turn_routes(self, entry: Entry) -> Sequence[Route]:
        root = f"{entry.prefix}{ROOT}"
        return (
            Route(root, entry.endpoint(partial(self.serve, entry)), methods=["POST"]),
            Route(f"{root}/{{invocation_id}}", entry.endpoint(partial(self.retrieve, entry)), methods=["GET"]),
            Route(f"{root}/{{invocation_id}}/cancel", entry.endpoint(partial(self.cancel, entry)), methods=["POST"]),
        )

    def _connect(self, entry: Entry) -> Callable[[WebSocket], Awaitable[None]]:
        return partial(serve_socket, self, entry)

    async def document(self, exchange: Exchange) -> None:
        """Answer with a document of the protocol."""
        name = exchange.request.path_params["document"]
        kind = "asyncapi.yaml" if isinstance(self._asyncapi, str) else "asyncapi.json"
        document = {"openapi.json": self._openapi, kind: self._asyncapi}.get(name)
        if document is None:
            error = NotFound(f"There is no document {name!r:.80}: Invocations(openapi=..., asyncapi=...).")
            error.source = "upstream"  # The application has none.
            raise error
        if isinstance(document, str):
            await exchange.text(document, "application/yaml; charset=utf-8")
        else:
            await exchange.json(document)

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer an invocation."""
        known = exchange.scope.get("state", {}).get("invocation_id")  # The SDK's host has read it.
        invocation_id = known or _valid(exchange.headers.get(ID_HEADER))
        session_id = exchange.session_id = self.session_of(exchange.scope)
        exchange.add_header(ID_HEADER, invocation_id)
        body = self.body(await entry.fields(exchange), session_id)
        response_id, keys = new_item_id("caresp", session_id), entry.responses.engine.services.sessions.keys
        use = await keys.use(exchange.caller, _key(invocation_id), "", response_id)
        if use.response_id != response_id:
            raise Conflict(f"There is an invocation with the id {invocation_id!r}.")
        try:
            async with entry.turn(exchange, body, response_id=response_id, session_id=session_id) as turn:
                if turn.request.stream:
                    await entry.stream(exchange, self.render(turn), goes_on=turn.request.background)
                    return
                response = await turn.response()
        except RequestError as error:
            store = entry.responses.engine.store
            if not isinstance(error, Unavailable) or await store.forbid(exchange.caller, response_id):
                await keys.release(exchange.caller, _key(invocation_id))
            raise
        if response["status"] != "cancelled":
            if (failed := failure_of(response)) is not None:
                raise TurnFailed(failed)
            await exchange.json(self._answer(response))

    async def retrieve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer with an earlier invocation, also while it runs."""
        response_id, active = await _found(entry, exchange)
        response = {"status": "in_progress"} if active else await entry.turns.retrieve(response_id, exchange.caller)
        is_over = response["status"] not in RUNNING
        await exchange.json(self._answer(response) if is_over else {"status": "in_progress"})

    async def cancel(self, entry: Entry, exchange: Exchange) -> None:
        """Cancel an invocation, and answer once it has ended."""
        response_id, active = await _found(entry, exchange)
        if active is None:
            response = await entry.turns.cancel(response_id, exchange.caller)
        else:
            stop, ended = active
            stop.stop("client")
            await ended.wait()
            response = await entry.turns.retrieve(response_id, exchange.caller)
        await exchange.json({"status": response["status"]})


def default_body(fields: Mapping[str, Json]) -> Mapping[str, Any]:
    """The create-response body of the default shape.

    Raises:
        InvalidRequest: A field is unknown, missing or malformed.
    """
    if unknown := [name for name in fields if name not in FIELDS]:
        message = f"{unknown[0]!r:.80} is not a field of an invocation: {', '.join(FIELDS)}."
        raise InvalidRequest(message, param=unknown[0])
    options = fields.get("options", {})
    if not is_object(options):
        raise InvalidRequest("options must be an object.", param="options")
    options = {_RENAMED.get(name, name): value for name, value in options.items()}
    if refused := [name for name in options if name not in OPTIONS]:
        param = f"options.{refused[0]}"
        raise InvalidRequest(f"{param:.80} is not an option of an invocation: {', '.join(OPTIONS)}.", param=param)
    return {**options, **{name: fields[name] for name in SENT if name in fields}, "input": _input(fields)}


def _input(fields: Mapping[str, Json]) -> Json:
    replies = fields.get("responses", {})
    if not is_object(replies):
        raise InvalidRequest("responses must be an object: the id of each question, and its answer.", param="responses")
    answers = [answer_item(name, reply) for name, reply in replies.items()]
    given = fields.get("input", fields.get("message"))
    if given is None:
        if not answers:
            message = "input is missing: send text, items, or the value that a workflow starts with."
            raise InvalidRequest(message, param="input")
        return answers
    if isinstance(given, str) and not answers:
        return given
    if is_array(given) and all(is_object(row) and ("type" in row or "role" in row) for row in given):
        return [*answers, *given]
    text = given if isinstance(given, str) else encode(given).decode()
    return [*answers, {"type": "message", "role": "user", "content": text}]


def default_answer(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """The default body of a whole answer."""
    asked = [shown_question(item) for item in open_questions(response["output"])]
    conversation: Mapping[str, Json] = response.get("conversation") or {}
    return {
        "response": text_of(response),
        "status": response["status"],
        "questions": asked,
        "response_id": response["id"],
        "conversation": conversation.get("id"),
        **({"error": response["error"]} if response.get("error") else {}),
    }


async def default_frames(turn: Turn) -> AsyncGenerator[bytes]:
    """The default frames of a stream."""
    async for row in default_events(turn):
        yield write_frame(str(row["type"]), event_data({name: value for name, value in row.items() if name != "type"}))


async def default_events(turn: Turn) -> AsyncGenerator[dict[str, Json]]:
    """The default events of a stream: `delta` with `text`, `question`, and `done` or `error`."""
    response: Mapping[str, Json] = {}
    async with aclosing(turn.events()) as events:
        async for event in events:
            response = event.get("response", response)
            if event["type"] in ("response.output_text.delta", "response.refusal.delta"):
                yield {"type": "delta", "text": event["delta"]}
    if (failed := failure_of(response)) is not None:
        yield error_event(TurnFailed(failed))
        return
    for item in open_questions(response["output"]):
        yield {"type": "question", **shown_question(item)}
    yield {
        "type": "done",
        "status": response["status"],
        "session_id": turn.request.sandbox_session_id,
        "response_id": response["id"],
    }


def _valid(value: str | None) -> str:
    """The caller's id, or a new one."""
    return value if value is not None and _ID.fullmatch(value) else str(uuid.uuid4())


def _key(invocation_id: str) -> str:
    return f"invocation:{invocation_id}"


async def _found(entry: Entry, exchange: Exchange) -> tuple[str, tuple[StopSignals, asyncio.Event] | None]:
    """The response of an invocation, with the means to end it if it runs here."""
    invocation_id = exchange.request.path_params["invocation_id"]
    exchange.session_id = None  # Only the answer to an invocation names its session.
    if _ID.fullmatch(invocation_id):
        exchange.add_header(ID_HEADER, invocation_id)
    use = await entry.responses.engine.services.sessions.keys.find(exchange.caller, _key(invocation_id))
    if use is None:
        raise NotFound(f"Invocation with id {invocation_id!r:.300} not found.")
    active = entry.responses.engine.active.get(use.response_id)
    return use.response_id, (active.stop, active.ended) if active is not None and active.stop is not None else None
