"""Accepts or refuses requests before the SDK sees them, because an SDK handler can only fail a response.

It resolves the identity, bounds and parses the body, and passes the parsed request to the handler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Token
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from azure.ai.agentserver.core import (
    FoundryAgentRequestContext,
    read_request_id,
    reset_request_context,
    set_request_context,
)
from azure.ai.agentserver.responses import FoundryBadRequestError, FoundryStorageError

from hostedagent.agents.exits import is_cancelled
from hostedagent.conversation.continuation import Continuation
from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import STOPPING, Engine
from hostedagent.engine.flow_control import FlowControl
from hostedagent.errors import InvalidRequest, NotFound, PayloadTooLarge, RequestError, Unavailable
from hostedagent.identity import Caller, RequestContext, current_context, enter_context, leave_context
from hostedagent.observability.logging import log_failure
from hostedagent.off_loop import off_loop
from hostedagent.platform import CALL_ID_HEADER, RESPONSE_ID_HEADER, USER_ID_HEADER
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.server.admission import Trust, headers_of, read_request, refusal, refuse_media, without_headers
from hostedagent.server.agentserver.envelope import Completer
from hostedagent.server.agentserver.ownership import RESPONSE_ID, EventBuffers
from hostedagent.server.agentserver.schema import MAX_RESUMABLE, escaped_size, whole, without_input
from hostedagent.server.exchange import AWAY, conflict
from hostedagent.stores.base import StoreError, StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_REFUSED: Final = 400
_ERROR: Final = 500
_NOT_RESUMABLE: Final = (
    f"A background request of more than {MAX_RESUMABLE} bytes cannot be kept to be resumed; characters beyond ASCII "
    "count as their escapes, 6 bytes or 12. Send it with background=false."
)
_SNAPSHOT_ROUTES: Final = ("/_agent/", "/_before_snapshot", "/_after_restore")
"""Routes of newer SDKs that let any client set the environment of the process."""


class AdmissionMiddleware:
    """Accepts or refuses requests on the host's own routes, and completes their responses.

    Other routes of the application only get the platform's identity.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        engine: Engine,
        buffers: EventBuffers,
        trust: Trust,
        prefix: str = "",
    ) -> None:
        self._app = app
        self._engine = engine
        self._options = engine.options
        self._buffers = buffers
        self._trust = trust
        self._root = f"{prefix}/responses"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = _path(scope)
        if scope["type"] != "http":
            await self._pass(scope, receive, send)
        elif path == self._root or path.startswith(f"{self._root}/"):
            await self._admit(scope, receive, Completer(send, self._engine.output_so_far))
        elif path.startswith(_SNAPSHOT_ROUTES) and not self._options.allow_snapshots:
            await _Answer(send).refuse(NotFound("Not found."), scope)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to another route of the application, whose calls to Foundry are made for its user."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        token = _set_platform_context(headers_of(self._trust.trusted(scope)))
        try:
            await self._app(scope, receive, send)
        finally:
            reset_request_context(token)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = self._trust.trusted(scope)
        headers = headers_of(scope)
        # The SDK sets this for the create route only; its state client needs the call id on every route.
        token = _set_platform_context(headers)
        answer = _Answer(send)
        try:
            caller = self._trust.caller_of(scope, headers)
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
            await answer.refuse(Unavailable(AWAY), scope)
        finally:
            reset_request_context(token)

    async def _route(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, answer: _Answer, caller: Caller
    ) -> None:
        path, method = _path(scope), scope["method"]
        if path == self._root:
            if method == "POST":
                self._engine.check_accepts()
                refuse_media(headers)
                await self._create_named(scope, headers.get(RESPONSE_ID_HEADER, "").strip(), receive, answer, caller)
            else:
                await self._app(scope, receive, answer)
            return
        response_id = path[len(self._root) + 1 :].partition("/")[0]
        if RESPONSE_ID.fullmatch(response_id):
            await self._engine.check_owner(caller, response_id)
        if method == "DELETE":  # First, so that nothing remains once the deletion is reported, and a retry is safe.
            await self._engine.check_elsewhere(caller, response_id)
            await self._engine.forget(caller, response_id)
        elif b"stream=true" in scope.get("query_string", b"").lower():
            await self._buffers.find(response_id, self._engine.store, caller)
            receive = self._until_over(receive)
        await self._app(scope, receive, answer)

    async def _create_named(
        self, scope: Scope, response_id: str, receive: Receive, answer: _Answer, caller: Caller
    ) -> None:
        """Create a response, with the platform's id if there is one; the SDK would replay one that exists."""
        if not response_id or not self._trust.response_id:
            await self._create(without_headers(scope, RESPONSE_ID_HEADER), receive, answer, caller)
            return
        if not self._engine.store.claim(response_id):
            raise conflict(response_id)
        try:
            await self._create(scope, receive, answer, caller)
        finally:
            self._engine.store.release_claim(response_id)

    def _until_over(self, receive: Receive) -> Receive:
        over = self._engine.services.shutdown.over
        return _until(over, receive) if self._options.resilient_background else receive

    async def _create(self, scope: Scope, receive: Receive, answer: _Answer, caller: Caller) -> None:
        body, request = await read_request(receive, self._options)
        request = replace(request, caller=caller)
        context = await self._engine.accept(request, receive)
        answer.release = partial(self._engine.abandon, context)
        if context.flow.is_bounded:
            answer.flow = context.flow
        enter_context(context)
        try:
            sent = await self._for_sdk(body, context)
            receive = self._until_over(receive) if request.background else receive
            await self._app(scope, _replay(sent, receive), answer)
        except asyncio.CancelledError:
            if is_cancelled() or answer.status is not None:
                raise
            # Raised by the SDK: when the client has left, and cannot be answered; and when the process ends, for a
            # request that waits for a whole answer, also when its turn has ended.
            if self._engine.services.shutdown.has_begun:
                await self._answer_as_stored(scope, answer, context.continuation.response_id)
        finally:
            await self._engine.abandon(context)
            await self._release(request, context.continuation)

    async def _for_sdk(self, body: RequestBody, context: TurnContext) -> bytes:
        request = context.request
        if request.background and self._options.resilient_background:  # Resumed from the SDK's copy of the request.
            sent = await off_loop(len(request.input), whole, body, request)
            if escaped_size(sent) > MAX_RESUMABLE:
                raise PayloadTooLarge(_NOT_RESUMABLE)
            return sent
        sent, context.kept_input = without_input(body)
        return sent

    async def _answer_as_stored(self, scope: Scope, answer: _Answer, response_id: str | None) -> None:
        """Answer with the stored response, as GET would."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        path = f"{scope['path']}/{response_id}"
        get = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await self._app(get, _replay(b"", _nothing), keep)
        if messages[0]["status"] != 200:
            raise Unavailable(STOPPING)
        for message in messages:
            await answer(message)

    async def _release(self, request: TurnRequest, continuation: Continuation) -> None:
        # A background turn outlives this request and releases its events at its end.
        is_buffered = request.stream and request.store and not request.background
        if is_buffered and continuation.response_id is not None:
            await self._buffers.release(continuation.response_id, request.caller.platform_user)


def _set_platform_context(headers: Mapping[str, str]) -> Token[Any]:
    user, call = headers.get(USER_ID_HEADER), headers.get(CALL_ID_HEADER)
    return set_request_context(FoundryAgentRequestContext(call_id=call, user_id=user))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _path(scope: Scope) -> str:
    """The path relative to the mount point of the app."""
    path, mounted = cast("str", scope.get("path", "")), cast("str", scope.get("root_path", ""))
    return path[len(mounted) :] if mounted and path.startswith(f"{mounted}/") else path


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _until(over: asyncio.Event, receive: Receive) -> Receive:
    """A `receive` that disconnects at the deadline: a reader of a suspended turn would wait forever."""

    async def received() -> Message:
        message = asyncio.ensure_future(receive())
        ending = asyncio.create_task(over.wait())
        try:
            await asyncio.wait((message, ending), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            message.cancel()
            ending.cancel()

    return received


class _Answer:
    """The response of one request: records its start, so that nothing is answered twice.

    The start is sent with the body: the SDK reports success before its stream shows that a response was not stored.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.status: int | None = None
        self.flow: FlowControl | None = None
        self.release: Callable[[], Awaitable[None]] | None = None
        """Gives back what the request took; a caller that is refused may send the next one at once."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, messages = self._start, (message,)
        if start is not None:
            self._start, context = None, current_context()
            unstored = context.unstored if isinstance(context, TurnContext) else None
            if unstored is not None:
                raise unstored
            if start["status"] >= _REFUSED:
                await self._prepare_refusal(start["status"], context)
            self.status, messages = start["status"], (start, message)
        for one in messages:
            if self.flow is not None:
                await self.flow.send(self._send(one), one.get("body", b"").count(b"\n\n"))
            else:
                await self._send(one)

    async def _prepare_refusal(self, status: int, context: RequestContext | None) -> None:
        if status == _ERROR and context is not None and context.store_failed:
            raise StoreUnavailable(AWAY)  # The SDK's status for any failure of a provider: a retry may succeed.
        if self.release is not None:
            await self.release()

    async def refuse(self, error: RequestError, scope: Scope) -> None:
        """Answer with an error, unless the response has started."""
        if self.status is not None:
            return
        body, headers = refusal(error, read_request_id(scope))
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
