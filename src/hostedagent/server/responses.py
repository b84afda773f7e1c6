"""The package's own routes of the Responses protocol: a Starlette app over the engine, without the SDK.

It is faster than the SDK's host, because nothing is copied or validated twice and each response is serialized once. The
routes, headers and errors are those of the SDK's host.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field, structs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive

from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import STOPPING, Engine
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.sent_events import events_again
from hostedagent.errors import Busy, InvalidRequest, NotFound, Unavailable
from hostedagent.identity import Caller, enter_context
from hostedagent.platform import RESPONSE_ID_HEADER
from hostedagent.protocol.envelope import listed_item
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import KEEP_ALIVE, event_data, rewrite_frame, write_frame
from hostedagent.protocol.statuses import RUNNING
from hostedagent.protocol.types import Event, Json
from hostedagent.server.admission import Trust, client_headers, read_request, refuse_media, sandbox_session
from hostedagent.server.agentserver.telemetry import configure
from hostedagent.server.conversations import conversation_routes
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.exchange import Endpoint, Exchange, Handler, conflict
from hostedagent.server.fallback import OnDemand
from hostedagent.server.idempotency import HashedBody, earlier_response, key_of
from hostedagent.server.input_routes import InputRoutes
from hostedagent.server.paging import listing, number, page_asked
from hostedagent.server.serve import Signalled
from hostedagent.server.successors import PendingInputs, SteerRoutes
from hostedagent.stores.base import LoggedEvent, Page, StoreNotFound

if TYPE_CHECKING:
    from hostedagent.engine.waiting import WaitingTurns

logger = logging.getLogger(__name__)


class ResponsesApp(Signalled):
    """The app of the own routes; `AgentHost.run` serves it, and any ASGI server can."""

    @property
    def has_websockets(self) -> bool:
        """Whether the app serves WebSockets: also that of a group, which has no route for them."""
        return True

    @property
    def port(self) -> int:
        """The port that the environment asks for."""
        return int(os.environ.get("PORT") or 8088)


class ResponsesDriver(Struct, frozen=True):
    """The own routes of the Responses protocol.

    Args:
        pending: Inputs that wait for the next request of a chain.
    """

    responses: RecordedResponses
    trust: Trust
    pending: PendingInputs = field(default_factory=PendingInputs)

    def app(self, prefix: str, aclose: Callable[[], Awaitable[None]]) -> ResponsesApp:
        """The app."""
        shutdown = self.responses.engine.services.shutdown

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncGenerator[None]:
            configure()
            try:
                await self.responses.open()
                yield
            finally:
                shutdown.close()
                await self.responses.aclose()
                await aclose()

        app = ResponsesApp(
            routes=[*self.routes(prefix), Route("/readiness", _ready)],
            exception_handlers=dict.fromkeys(STATUSES, unknown_route),
            lifespan=lifespan,
        )
        app.register_pre_shutdown_callback(shutdown.begin)
        return app

    def routes(self, prefix: str = "") -> list[BaseRoute]:
        """The routes of the protocol."""
        below = prefix.rstrip("/")
        root = f"{below}/responses"
        one = f"{root}/{{response_id}}"
        steers = SteerRoutes(self.responses, self.trust, self.pending, self._stream_until_over)
        return [
            Route(root, self._endpoint(self._create), methods=["POST"]),
            WebSocketRoute(root, OnDemand(partial(self._sockets, steers))),
            Route(one, self._endpoint(self._retrieve), methods=["GET"]),
            Route(one, self._endpoint(self._delete), methods=["DELETE"]),
            Route(f"{one}/cancel", self._endpoint(self._cancel), methods=["POST"]),
            Route(f"{one}/input_items", self._endpoint(self._input_items), methods=["GET"]),
            *conversation_routes(self.responses.engine, self.trust, below),
            *InputRoutes(self.responses.engine, self.trust).routes(below),
            *steers.routes(below),
        ]

    def _sockets(self, steers: SteerRoutes) -> ASGIApp:
        from hostedagent.server.websocket import ResponsesSockets

        return ResponsesSockets(self.responses, self.trust, steers.events, self.pending)

    def _endpoint(self, handler: Handler) -> ASGIApp:
        return Endpoint(self.trust, handler)

    async def _create(self, exchange: Exchange) -> None:
        self.responses.engine.check_accepts()
        refuse_media(exchange.headers)
        key = key_of(exchange.headers)
        hashed = HashedBody(exchange.receive) if key is not None else None
        body, request = await read_request(hashed or exchange.receive, self.responses.engine.options, exchange.caller)
        response_id = exchange.headers.get(RESPONSE_ID_HEADER, "").strip() if self.trust.response_id else ""
        if key is None or hashed is None:
            await self._accept(exchange, body, request, response_id)
        else:
            await self._create_once(exchange, body, request, response_id, key, hashed.digest)

    async def _create_once(
        self, exchange: Exchange, body: RequestBody, request: TurnRequest, response_id: str, key: str, digest: str
    ) -> None:
        """Create a response, unless its idempotency key already has one."""
        if not request.store:
            raise InvalidRequest("Idempotency-Key needs store=true: nothing is kept otherwise.", param="store")
        caller, store = request.caller, self.responses.engine.store
        keys = self.responses.engine.services.sessions.keys
        response_id = response_id or request.named().response_id
        exists, forbid = partial(store.existed, caller), partial(store.forbid, caller)
        earlier = await earlier_response(keys, caller, key, digest, response_id, exists, forbid)
        if earlier is not None:
            try:
                await self._follow(exchange, replace(request, response_id=earlier))
            except (StoreNotFound, NotFound):
                raise NotFound("The response of this Idempotency-Key was deleted. Use a new key.") from None
            return
        # If it is refused, the caller may correct the request, or retry.
        async with keys.accepting(caller, key, response_id, exists, forbid) as confirm:
            await self._accept(exchange, body, request, response_id, confirm)

    async def _accept(
        self,
        exchange: Exchange,
        body: RequestBody,
        request: TurnRequest,
        response_id: str,
        confirm: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Accept a request and run its turn.

        Args:
            response_id: The id of its response, if that is known.
            confirm: Confirms its idempotency key before the response is created; `None` if it has none.
        """
        engine, responses = self.responses.engine, self.responses
        request, body = self.pending.in_front_of(request, body)
        if response_id and not engine.store.claim(response_id):
            raise conflict(response_id)
        try:
            if responses.waiting is not None and responses.waiting.must_wait(request):
                if confirm is not None:
                    await confirm()
                await self._enqueue(exchange, body, request, response_id, responses.waiting)
                return
            context = await engine.accept(self._named(exchange, body, request, response_id), exchange.receive)
            self.pending.take(request.caller, request.previous_response_id)
            try:
                context.body = body.fields
                enter_context(context)
                context.is_kept = confirm is not None
                if confirm is not None:
                    await confirm()
                    await responses.start_in_background(context)
                    engine.store.release_claim(response_id)  # The response exists, so its end can be awaited.
                    await self._follow(exchange, context.request)
                else:
                    await self._run(exchange, context)
            finally:
                await engine.abandon(context)
        finally:
            if response_id:
                engine.store.release_claim(response_id)

    async def _enqueue(
        self, exchange: Exchange, body: RequestBody, request: TurnRequest, response_id: str, waiting: WaitingTurns
    ) -> None:
        """Queue a turn for a replica with a free slot, and answer with its response or follow its stream."""
        named = self._named(exchange, body, request, response_id)
        await self.responses.engine.inspect(named)
        await waiting.add(named, body.fields)
        self.pending.take(request.caller, request.previous_response_id)
        await self._follow(exchange, named)

    def _named(self, exchange: Exchange, body: RequestBody, request: TurnRequest, response_id: str) -> TurnRequest:
        """The request with its ids and the values of its headers."""
        session_id = sandbox_session(body.fields)
        exchange.session_id = session_id
        return request.named(response_id, session_id, client_headers(exchange.headers))

    async def _follow(self, exchange: Exchange, request: TurnRequest) -> None:
        """Answer with the events of an independent turn, from its start."""
        caller, response_id = request.caller, request.response_id
        if request.stream:
            await self._stream_until_over(exchange, await self._replayed_again(request))
            return
        engine = self.responses.engine
        if not request.background and (active := engine.active.get(response_id)) is not None:
            await active.ended.wait()
        response = await engine.retrieve(caller, response_id)
        if not request.background and response.get("status") == "in_progress":
            raise Busy("The request with this Idempotency-Key is still running. Send it again in a moment.")
        await exchange.json(response)

    async def _replayed_again(self, request: TurnRequest) -> AsyncGenerator[bytes]:
        """The frames of a stream from its beginning, for a client that asks for it again."""
        caller, response_id, store = request.caller, request.response_id, self.responses.engine.store
        try:
            return await self._replayed(request, -1)
        except InvalidRequest:  # There are no events.
            response = await store.get(caller, response_id)
            if response.get("status") in RUNNING:
                raise Busy("The request with this Idempotency-Key is still being accepted. Send it again.") from None
            return replayed_frames(_once(events_again(response)))

    async def _run(self, exchange: Exchange, context: TurnContext) -> None:
        request = context.request
        if request.background:
            response = await self.responses.start_in_background(context)
            if request.stream:
                await self._stream_until_over(exchange, await self._replayed(request, -1))
            else:
                await exchange.json(response)
            return
        turn = await self.responses.start(context)
        with exchange.watched(turn.disconnect):
            if request.stream:
                await send_frames(exchange, framed(turn.events(), context), self.responses.engine.options.keep_alive)
            else:
                response = await turn.result()
                if not exchange.has_left:
                    await exchange.json(response)

    async def _replayed(self, request: TurnRequest, after: int) -> AsyncGenerator[bytes]:
        return replayed_frames(await self.responses.engine.replay(request.caller, request.response_id, after=after))

    async def _retrieve(self, exchange: Exchange) -> None:
        query, response_id = exchange.request.query_params, exchange.response_id
        if query.get("stream", "").lower() != "true":
            await exchange.json(await self.responses.engine.retrieve(exchange.caller, response_id))
            return
        after = number(query, "starting_after", -1, low=-1)
        request = TurnRequest(input=(), response_id=response_id, caller=exchange.caller)
        await self._stream_until_over(exchange, await self._replayed(request, after))

    async def _stream_until_over(self, exchange: Exchange, frames: AsyncGenerator[bytes]) -> None:
        """Send the frames of a turn that outlives this connection, until the client disconnects or the process ends."""
        over = self.responses.engine.services.shutdown.over
        await until_over(exchange, send_frames(exchange, frames, self.responses.engine.options.keep_alive), over)
        if over.is_set() and not exchange.is_started:
            raise Unavailable(STOPPING)

    async def _delete(self, exchange: Exchange) -> None:
        await self.responses.engine.delete(exchange.caller, exchange.response_id)
        await exchange.json({"id": exchange.response_id, "object": "response", "deleted": True})

    async def _cancel(self, exchange: Exchange) -> None:
        await exchange.json(await self.responses.engine.cancel(exchange.caller, exchange.response_id))

    async def _input_items(self, exchange: Exchange) -> None:
        page = page_asked(exchange.request.query_params)
        await exchange.json(await input_items_page(self.responses.engine, exchange.caller, exchange.response_id, page))


async def input_items_page(engine: Engine, caller: Caller, response_id: str, page: Page) -> dict[str, Json]:
    """A page of the input items of a response, as a list object.

    Raises:
        NotFound: The response does not exist, or belongs to another scope.
    """
    found = await engine.input_items(caller, response_id, structs.replace(page, limit=page.limit + 1))
    return listing(page, [listed_item(item) for item in found])


async def framed(events: AsyncGenerator[Event], context: TurnContext | None = None) -> AsyncGenerator[bytes]:
    """The frames of events, of a running turn or of an earlier one."""
    async with aclosing(events):
        async for event in events:
            if context is not None:
                context.flow.taken()
            yield write_frame(event["type"], event_data(event))


async def _once(batch: list[LoggedEvent]) -> AsyncGenerator[list[LoggedEvent]]:
    yield batch


async def replayed_frames(batches: AsyncIterator[list[LoggedEvent]]) -> AsyncGenerator[bytes]:
    """The frames of stored events."""
    async for batch in batches:
        for event in batch:
            yield rewrite_frame(event.data)


async def send_frames(exchange: Exchange, frames: AsyncGenerator[bytes], pause: float) -> None:
    """Send a stream to its end.

    Args:
        pause: Seconds between comments while the stream is quiet; 0 for none.
    """
    async with aclosing(with_comments(frames, pause)) as sent:
        async for frame in sent:
            await exchange.send_frame(frame)
    await exchange.end()


def with_comments(frames: AsyncGenerator[bytes], pause: float) -> AsyncGenerator[bytes]:
    """Frames, with comments after the first one while the stream is quiet.

    Args:
        pause: Seconds between comments; 0 for none.
    """
    return _commented(frames, pause) if pause else frames


async def _commented(frames: AsyncGenerator[bytes], pause: float) -> AsyncGenerator[bytes]:
    following, timeout = asyncio.ensure_future(anext(frames, None)), None
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=timeout)
            if not done:
                yield KEEP_ALIVE
                continue
            if (frame := following.result()) is None:
                return
            following, timeout = asyncio.ensure_future(anext(frames, None)), pause
            yield frame
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await following
        await frames.aclose()


async def until_over(exchange: Exchange, sending: Awaitable[None], over: asyncio.Event) -> None:
    """Send a stream that does not depend on this connection, until the client disconnects or the process ends."""
    sent = asyncio.ensure_future(sending)
    gone = asyncio.ensure_future(_gone(exchange.receive, over))
    try:
        await asyncio.wait({sent, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        sent.cancel() if not sent.done() else sent.result()


async def _gone(receive: Receive, over: asyncio.Event) -> None:
    """Return when the client has disconnected, or at the deadline of the shutdown."""
    ending = asyncio.ensure_future(over.wait())
    try:
        while not over.is_set():
            message: asyncio.Future[Message] = asyncio.ensure_future(receive())
            await asyncio.wait({message, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
            elif message.result()["type"] == "http.disconnect":
                return
    finally:
        ending.cancel()


async def _ready(request: Request) -> JSONResponse:
    return JSONResponse({"status": "healthy"})
