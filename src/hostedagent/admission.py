"""What is refused before the SDK sees it, with a real status: an SDK handler can only fail a response.

Reads the identity, bounds the body, parses it, and hands the parsed request to the handler of the same request.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Never, cast

from azure.ai.agentserver.core import read_request_id
from azure.ai.agentserver.responses import PlatformContext

from hostedagent.errors import InvalidRequest, PayloadTooLarge, RequestError
from hostedagent.history.named import resolve_named
from hostedagent.identity import (
    CALL_ID_HEADER,
    USER_ID_HEADER,
    ScopeResolver,
    set_current_isolation_keys,
    set_current_scope,
)
from hostedagent.policy import HostOptions
from hostedagent.request.turn import ADMITTED, TurnRequest
from hostedagent.stores.responses import ResponseStore
from hostedagent.types import Json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class AdmissionMiddleware:
    """Refuses what must be refused; everything else goes on untouched.

    Args:
        app: The SDK's app.
        options: Limits and caller policy.
        resolve_scope: Says whose request it is.
        prefix: The path below which the Responses routes are.
        store: Knows what an input may name.
        reserved_tools: Names that a caller's tools must not take.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: HostOptions,
        resolve_scope: ScopeResolver,
        store: ResponseStore,
        prefix: str = "",
        reserved_tools: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._options = options
        self._resolve_scope = resolve_scope
        self._store = store
        self._create_path = f"{prefix}/responses"
        self._reserved_tools = reserved_tools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = cast("str", scope.get("path", ""))
        if scope["type"] != "http" or not (path == self._create_path or path.startswith(f"{self._create_path}/")):
            await self._app(scope, receive, send)
            return
        try:
            headers = _headers(scope)
            keys, whose = self._resolve_scope(headers)
            set_current_isolation_keys(keys)
            set_current_scope(whose)
            if path == self._create_path and scope["method"] == "POST":
                receive = await self._admit_create(receive, headers)
        except RequestError as error:
            await _refuse(error, scope, send)
            return
        await self._app(scope, receive, send)

    async def _admit_create(self, receive: Receive, headers: Mapping[str, str]) -> Receive:
        body = await self._read(receive)
        payload = parse_body(body, max_depth=self._options.max_depth)
        request = TurnRequest.parse(payload, self._options.caller)
        if clash := sorted(request.options.tools.names & self._reserved_tools):
            raise InvalidRequest(f"tools: {clash[0]!r} is the name of one of the agent's own tools.", param="tools")
        context = PlatformContext(user_id_key=headers.get(USER_ID_HEADER), call_id=headers.get(CALL_ID_HEADER))
        ADMITTED.set(await resolve_named(request, self._store, context))
        return _replay(_without_nulls(payload, body), receive)

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("The request ended before its body was complete.")
            chunk = cast("bytes", message.get("body", b""))
            size += len(chunk)
            if size > self._options.max_body_bytes:
                raise PayloadTooLarge(f"The request body is larger than {self._options.max_body_bytes} bytes.")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)


def parse_body(body: bytes, *, max_depth: int) -> Mapping[str, Json]:
    """Parse a JSON object strictly.

    Raises:
        InvalidRequest: It is not UTF-8 JSON, not an object, holds NaN, infinity or a lone surrogate, or is nested
            deeper than `max_depth`.
    """
    try:
        # Decoded here: given bytes, json guesses the encoding and lets surrogates pass.
        payload = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.") from None
    except ValueError:
        raise InvalidRequest("The request body is not valid JSON in UTF-8.") from None
    if not isinstance(payload, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    if body.count(b"[") + body.count(b"{") > max_depth and _depth_exceeds(payload, max_depth):  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.")
    if _SURROGATE.search(body):
        _refuse_surrogates(payload)  # pyright: ignore[reportUnknownArgumentType]
    return cast("dict[str, Json]", payload)


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(number)
    return value


def _refuse_surrogates(payload: Json) -> None:
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The request body holds a lone surrogate, which is not a character.") from None


def _depth_exceeds(value: Json, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Json) -> list[Json]:
    rows = cast("dict[str, Json]", node).values() if isinstance(node, dict) else cast("list[Json]", node)
    return [row for row in rows if isinstance(row, dict | list)]


def _without_nulls(payload: Mapping[str, Json], body: bytes) -> bytes:
    """The body without fields that are null: the protocol allows most of them, the SDK's schema does not."""
    if all(value is not None for value in payload.values()):
        return body
    return json.dumps({name: value for name, value in payload.items() if value is not None}).encode()


def _headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(error: RequestError, scope: Scope, send: Send) -> None:
    content = error.body()
    if request_id := read_request_id(scope):
        content["error"]["additionalInfo"] = {"request_id": request_id}
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-platform-error-source", b"user"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
