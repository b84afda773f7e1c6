"""`ResponsesAgentServerHost` as the SDK's tests use it: their handler becomes an agent, and our host serves it.

What a handler streams as events reaches the host as updates of an agent: its words, reasoning and calls, its failure.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from agent_framework import AgentResponse, AgentResponseUpdate, BaseAgent, Content, ResponseStream
from starlette.types import Message, Receive, Scope, Send

from hostedagent import AgentHost, HostOptions, current_turn
from hostedagent.identity import PlatformScopeResolver

from .loops import Served

_BODY: ContextVar[dict[str, Any]] = ContextVar("body", default={})  # noqa: B039 - never changed


class HandlerFailed(Exception):
    """A handler ended its response as failed."""


class HandlerAgent(BaseAgent):
    """Runs a handler of the SDK, and says what it streams."""

    def __init__(self, handler: Any) -> None:
        super().__init__(name="handler")
        self._handler = handler

    def run(self, messages: Any = None, *, stream: bool = False, session: Any = None, **options: Any) -> Any:
        """Run the handler once."""
        del messages, session, options
        updates = ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)
        return updates if stream else updates.get_final_response()

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        turn, signal = current_turn(), asyncio.Event()
        body = _BODY.get()
        context = SimpleNamespace(
            response_id=turn.response_id,
            conversation_id=turn.conversation_id,
            session_id=turn.sandbox_session_id,
            client_headers=dict(turn.client_headers),
            platform_context=SimpleNamespace(user_id_key=None, call_id=None),
            shutdown=asyncio.Event(),
            client_cancelled=False,
            is_recovery=False,
            _cancellation_signal=signal,
            get_input_items=_answering(list(turn.input)),
            get_input_text=_answering(" ".join(_texts(turn.input))),
            get_history=_answering(()),
        )
        try:
            events = self._handler(body, context, signal)
            if inspect.isawaitable(events):
                events = await events
            async for event in events:
                for update in _updates_of(event):
                    yield update
        except asyncio.CancelledError:
            signal.set()
            raise


def _updates_of(event: Any) -> list[AgentResponseUpdate]:
    if event["type"] == "response.incomplete":
        return [AgentResponseUpdate(contents=[], role="assistant", finish_reason="length")]
    message = f"m{event.get('output_index', 0)}"
    return [AgentResponseUpdate(contents=[one], role="assistant", message_id=message) for one in _contents(event)]


def _contents(event: Any) -> list[Content]:
    match event["type"]:
        case "response.output_text.delta":
            return [Content.from_text(event["delta"])]
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            return [Content.from_text_reasoning(text=event["delta"])]
        case "response.output_item.done" if event["item"]["type"] == "function_call":
            item = event["item"]
            return [Content.from_function_call(item["call_id"], item["name"], arguments=item["arguments"])]
        case "response.failed":
            raise HandlerFailed
        case _:
            return []


def _texts(items: Any) -> list[str]:
    content: list[Any] = [item.get("content") for item in items]
    parts: list[dict[str, str]] = [part for one in content if isinstance(one, list) for part in cast("list[Any]", one)]
    return [one for one in content if isinstance(one, str)] + [part.get("text", "") for part in parts]


def _answering(value: Any) -> Any:
    async def answer(**options: Any) -> Any:
        del options
        return value

    return answer


class ResponsesAgentServerHost:
    """Takes the place of the SDK's host in its tests."""

    def __init__(self, *, prefix: str = "", options: Any = None, store: Any = None, **given: Any) -> None:
        del store, given
        self._prefix = prefix
        self._options = options
        self._handler: Any = None
        self._served = Served(self._made)

    def response_handler(self, handler: Any) -> Any:
        """Register the handler."""
        self._handler = handler
        return handler

    def _made(self) -> Any:
        pause = getattr(self._options, "sse_keep_alive_interval_seconds", None)
        options = HostOptions(keep_alive=float(pause)) if pause else HostOptions()
        # As the platform would: the id of the response is believed, and a caller without a name is one, too.
        with patch("hostedagent.host.is_hosted", return_value=True):
            host = AgentHost(
                HandlerAgent(self._handler),
                options=options,
                prefix=self._prefix,
                resolve_scope=PlatformScopeResolver(),
                driver=os.environ["SUBSTITUTE_DRIVER"],  # pyright: ignore[reportArgumentType]
            )
        return host.app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; its body is kept for the handler."""
        send = _with_code(send) if scope["type"] == "http" else send
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._served(scope, receive, send)
            return
        messages: list[Message] = []
        while True:
            messages.append(message := await receive())
            if not message.get("more_body"):
                break
        body = _object(b"".join(message.get("body", b"") for message in messages))
        _BODY.set(body or {})
        if body is not None and scope["path"].endswith("/responses"):
            scope, body = _as_taken(scope, body)
            messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._served(scope, again, send)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        body: object = json.loads(data)
    except ValueError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def _as_taken(scope: Scope, body: dict[str, Any]) -> tuple[Scope, dict[str, Any]]:
    """A request as we take it. Each change is one difference, which would be one of most tests otherwise."""
    if body.get("input") in (None, "", []):
        body = {**body, "input": "hello"}  # An agent needs something to answer.
    if isinstance(response_id := body.get("response_id"), str):
        body = {name: value for name, value in body.items() if name != "response_id"}
        if all(name != b"x-agent-response-id" for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (b"x-agent-response-id", response_id.encode())]}
    return scope, body


def _with_code(send: Send) -> Send:
    """The `code` of errors as the SDK has it: one for all. That ours say more is one difference, not one a test."""
    start: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            start.append(message)
            return
        if start:
            assert not message.get("more_body")
            body = json.loads(message["body"])
            if isinstance(body.get("error"), dict) and body["error"].get("type") == "invalid_request_error":
                body["error"]["code"] = "invalid_request_error"
            data = json.dumps(body).encode()
            headers = [row for row in start[0]["headers"] if row[0] != b"content-length"]
            await send({**start.pop(), "headers": [*headers, (b"content-length", str(len(data)).encode())]})
            message = {**message, "body": data}
        await send(message)

    return sent
