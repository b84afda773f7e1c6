"""What is refused before the SDK sees it, with a real status: an SDK handler can only fail a response.

Reads the identity, bounds the body, parses it, and hands the parsed request to the handler of the same request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from azure.ai.agentserver.core import (
    FoundryAgentRequestContext,
    read_request_id,
    reset_request_context,
    set_request_context,
)
from azure.ai.agentserver.responses import FoundryBadRequestError, FoundryStorageError

from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.conversation.references import resolve_named
from hostedagent.engine.concurrency import Capacity, Slot
from hostedagent.engine.context import TurnContext
from hostedagent.engine.flow_control import Delivery
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.shutdown import Drain
from hostedagent.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    RequestError,
    TooManyTurns,
    Unavailable,
    UnsupportedMediaType,
)
from hostedagent.identity import (
    Caller,
    RequestContext,
    ScopeResolver,
    enter_context,
    leave_context,
)
from hostedagent.observability.logging import log_failure
from hostedagent.options import HostOptions
from hostedagent.platform import (
    CALL_ID_HEADER,
    CHAT_ISOLATION_HEADER,
    RESPONSE_ID_HEADER,
    USER_ID_HEADER,
    USER_ISOLATION_HEADER,
)
from hostedagent.protocol.request.body import RequestBody, parse_body
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.server.agentserver.ownership import EventBuffers, check_owner, forget
from hostedagent.server.agentserver.schema import for_sdk
from hostedagent.stores.base import StoreError, StoreRejected

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_ONCE: Final = frozenset(
    name.encode()
    for name in (USER_ID_HEADER, CALL_ID_HEADER, USER_ISOLATION_HEADER, CHAT_ISOLATION_HEADER, RESPONSE_ID_HEADER)
)
"""Headers that must not be repeated: whoever reads them would have to choose, and not everybody chooses the same."""

_PARSED_AT_ONCE: Final = 128 * 1024
"""Bodies up to this many bytes are parsed on the event loop; a thread costs more than it saves for them."""

_AWAY: Final = "The host's storage is not available. Try again later."
_STOPPING: Final = "The server is being stopped. Send the request again."
_SNAPSHOT_ROUTES: Final = ("/_agent/", "/_before_snapshot", "/_after_restore")
"""Routes of newer SDKs that set the process's environment for anybody who can reach the port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What admission works with.

    Args:
        options: Limits and caller policy.
        resolve_scope: Says whose request it is.
        store: Knows whose a response is, and what an input may name.
        continuations: Takes what a turn needs before it may begin.
        buffers: Lets go of the events of finished responses.
        drain: Knows whether the process ends.
        capacity: The slots of turns.
        prefix: The path below which the Responses routes are.
        reserved_tools: Names that a caller's tools must not take.
        known_tools: The names of all of the agent's tools; `None` where a run decides which there are.
        trusts_response_id: Whether the header that names the response to be made comes from the platform.
        trusts_platform_headers: Whether the platform's identity headers are the platform's. Where another resolver
            says whose a request is, outside the platform, anybody could send them.
    """

    options: HostOptions
    resolve_scope: ScopeResolver
    store: ResponseStore
    continuations: Continuations
    buffers: EventBuffers
    drain: Drain
    capacity: Capacity
    prefix: str = ""
    reserved_tools: frozenset[str] = frozenset()
    known_tools: frozenset[str] | None = None
    trusts_response_id: bool = False
    trusts_platform_headers: bool = True


class AdmissionMiddleware:
    """Refuses what must be refused; everything else goes on untouched."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        self._app = app
        self._door = door
        self._root = f"{door.prefix}/responses"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = _path(scope)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif path == self._root or path.startswith(f"{self._root}/"):
            await self._admit(scope, receive, send)
        elif path.startswith(_SNAPSHOT_ROUTES) and not self._door.options.allow_snapshots:
            await _Answer(send).refuse(NotFound("Not found."), scope)
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._door.trusts_platform_headers:
            scope = _without(scope, USER_ID_HEADER, CALL_ID_HEADER)
        headers = _headers(scope)
        # The SDK sets this for the create route only; stores need the call id on every route.
        user, call = headers.get(USER_ID_HEADER), headers.get(CALL_ID_HEADER)
        token = set_request_context(FoundryAgentRequestContext(call_id=call, user_id=user))
        answer = _Answer(send)
        try:
            _refuse_repeated(scope)
            keys, whose = self._door.resolve_scope(headers)
            caller = Caller(whose, keys, user, call)
            entered = enter_context(RequestContext(caller))
            try:
                await self._route(scope, headers, receive, answer, caller)
            finally:
                leave_context(entered)
        except RequestError as error:
            await answer.refuse(error, scope)
        except (StoreRejected, FoundryBadRequestError):
            await answer.refuse(InvalidRequest("The request names something that cannot be stored or read."), scope)
        except (StoreError, FoundryStorageError) as error:
            log_failure(logger, "A store is not available", error)
            await answer.refuse(Unavailable(_AWAY), scope)
        finally:
            reset_request_context(token)

    async def _route(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, answer: _Answer, caller: Caller
    ) -> None:
        path, method = _path(scope), scope["method"]
        if path == self._root:
            if method == "POST":
                self._refuse_when_stopping()
                _refuse_media(headers)
                await self._create_named(scope, headers.get(RESPONSE_ID_HEADER, "").strip(), receive, answer, caller)
            else:
                await self._app(scope, receive, answer)
            return
        response_id = path[len(self._root) + 1 :].partition("/")[0]
        await check_owner(response_id, self._door.store, caller)
        if method == "DELETE":  # First: whoever is told that it is gone finds nothing, and what failed is tried again.
            await forget(response_id, caller.scope, self._door.continuations)
        elif b"stream=true" in scope.get("query_string", b"").lower():
            await self._door.buffers.find(response_id, self._door.store, caller)
            receive = self._until_over(receive)
        await self._app(scope, receive, answer)

    async def _create_named(
        self, scope: Scope, response_id: str, receive: Receive, answer: _Answer, caller: Caller
    ) -> None:
        """Create under the id that the platform chose, if it did. The SDK would play back whoever has it already."""
        if not response_id or not self._door.trusts_response_id:
            await self._create(_without(scope, RESPONSE_ID_HEADER), receive, answer, caller)
            return
        if not self._door.store.claim(response_id):
            raise Conflict(f"There is a response with the id {response_id!r}.")
        try:
            await self._create(scope, receive, answer, caller)
        finally:
            self._door.store.release_claim(response_id)

    def _until_over(self, receive: Receive) -> Receive:
        return self._door.drain.hanging_up(receive) if self._door.options.resilient_background else receive

    def _refuse_when_stopping(self) -> None:
        if self._door.drain.has_begun:
            raise Unavailable(_STOPPING)

    async def _create(self, scope: Scope, receive: Receive, answer: _Answer, caller: Caller) -> None:
        body, request = await self._parse(await self._read(receive))
        slot = await self._door.capacity.take(receive)
        answer.delivery = Delivery() if request.stream and request.store and not request.background else None
        try:
            self._refuse_when_stopping()
            sent = for_sdk(body, request)
            receive = self._until_over(receive) if request.background else receive
            await self._serve(scope, _replay(sent, receive), answer, replace(request, caller=caller), slot)
        finally:
            slot.abandon()
            if answer.delivery is not None:
                answer.delivery.end()

    async def _parse(self, data: bytes) -> tuple[RequestBody, TurnRequest]:
        if len(data) <= _PARSED_AT_ONCE:
            body, request = self._parsed(data)
        else:  # Other requests are served meanwhile.
            body, request = await asyncio.to_thread(self._parsed, data)
        request.options.tools.check_names(self._door.reserved_tools)
        if self._door.known_tools is not None:
            request.options.tools.check_choice(self._door.known_tools)
        return body, request

    def _parsed(self, data: bytes) -> tuple[RequestBody, TurnRequest]:
        body = parse_body(data, self._door.options)
        return body, TurnRequest.parse(body.fields, self._door.options.caller)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer, request: TurnRequest, slot: Slot) -> None:
        caller, store = request.caller, self._door.store
        store.check_has_ended(caller, request.previous_response_id)
        continuation = await self._door.continuations.open(request, caller)
        try:
            request = await resolve_named(request, store, caller, continuation.history_ids)
            flow = answer.delivery or Delivery(is_bounded=False)
            enter_context(
                TurnContext(caller=caller, request=request, continuation=continuation, permit=slot, flow=flow)
            )
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            if _is_cancelled() or answer.status is not None:
                raise
            # Raised by the SDK: when the client has left, whom nothing can be told; and when the process ends, for
            # whoever waits for a whole answer, also with the turn done.
            if self._door.drain.has_begun:
                await self._tell_ended(scope, answer, continuation.response_id)
        finally:
            await self._door.continuations.abandon(continuation, caller.scope)
            await self._release(request, continuation)

    async def _tell_ended(self, scope: Scope, answer: _Answer, response_id: str | None) -> None:
        """Answer with how the turn ended, as GET would."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        path = f"{scope['path']}/{response_id}"
        get = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await self._app(get, _replay(b"", _nothing), keep)
        if messages[0]["status"] != 200:
            raise Unavailable(_STOPPING)
        for message in messages:
            await answer(message)

    async def _release(self, request: TurnRequest, continuation: Continuation) -> None:
        # A turn in the background outlives this request; its end lets go of its events.
        is_buffered = request.stream and request.store and not request.background
        if is_buffered and continuation.response_id is not None:
            await self._door.buffers.release(continuation.response_id, request.caller.platform_user)

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("The request ended before its body was complete.")
            chunk = cast("bytes", message.get("body", b""))
            size += len(chunk)
            if size > self._door.options.max_body_bytes:
                raise PayloadTooLarge(f"The request body is larger than {self._door.options.max_body_bytes} bytes.")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task, and not only raised as if."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _path(scope: Scope) -> str:
    """The path as the routes see it: without what the app is mounted below."""
    path, mounted = cast("str", scope.get("path", "")), cast("str", scope.get("root_path", ""))
    return path[len(mounted) :] if mounted and path.startswith(f"{mounted}/") else path


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _refuse_repeated(scope: Scope) -> None:
    names = [name for key, _ in scope["headers"] if (name := key.lower()) in _ONCE]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(f"The header {name.decode()} was sent more than once.")


def _refuse_media(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"A body with Content-Encoding {encoding!r} is not read. Send it as it is.")
    # A page of any site may send what is not JSON to any address, this machine's own too, and without being asked.
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "origin" in headers and kind != "application/json":
        raise UnsupportedMediaType(f"Pages of a browser must send application/json, not {kind!r}.")


def _without(scope: Scope, *names: str) -> Scope:
    dropped = {name.encode() for name in names}
    return {**scope, "headers": [row for row in scope["headers"] if row[0].lower() not in dropped]}


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _Answer:
    """The way out of one request: knows what was answered, so that nothing is answered twice."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.delivery: Delivery | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.delivery is not None:
            await self.delivery.send(message, self._send)
        else:
            await self._send(message)

    async def refuse(self, error: RequestError, scope: Scope) -> None:
        """Answer with an error, unless something was answered already."""
        if self.status is not None:
            return
        content = error.body()
        if request_id := read_request_id(scope):
            content["error"]["additionalInfo"] = {"request_id": request_id}
        body = json.dumps(content).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-platform-error-source", b"user" if error.status < 500 else b"platform"),
        ]
        if isinstance(error, TooManyTurns):
            headers.append((b"retry-after", str(error.retry_after).encode()))
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
