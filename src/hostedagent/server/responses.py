"""Our own routes of the Responses protocol, over the engine: a Starlette app that imports nothing of the SDK.

For servers of an application's own and for speed: nothing is copied or checked twice, and the bytes of an answer are
written once, complete. The routes, headers and errors are those of the SDK's host.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive

from hostedagent.engine.context import TurnContext
from hostedagent.engine.recorded import RecordedResponses, RecordedTurn
from hostedagent.errors import Busy, InvalidRequest
from hostedagent.identity import enter_context
from hostedagent.observability import logging as telemetry
from hostedagent.options import HostOptions
from hostedagent.platform import RESPONSE_ID_HEADER
from hostedagent.protocol.envelope import public_item
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data, rewrite_frame, write_frame
from hostedagent.protocol.types import Event, Json
from hostedagent.server.admission import Trust, read_request, refuse_media
from hostedagent.server.chat_completions import ChatRoutes
from hostedagent.server.conversations import conversation_routes
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.exchange import Endpoint, Exchange, Handler, conflict
from hostedagent.server.idempotency import HashedBody, earlier_response, key_of
from hostedagent.server.input_tokens import InputTokenRoutes
from hostedagent.server.paging import listing, number, page_asked
from hostedagent.server.serve import Signalled
from hostedagent.stores.base import LoggedEvent

logger = logging.getLogger(__name__)

_SESSION_VARIABLE: Final = "FOUNDRY_AGENT_SESSION_ID"
_KEEP_ALIVE: Final = b": keep-alive\n\n"


class ResponsesApp(Signalled, Starlette):
    """The app of the own routes; `AgentHost.run` serves it, and any ASGI server can."""

    @property
    def port(self) -> int:
        """The port that the environment asks for."""
        return int(os.environ.get("PORT") or 8088)


@dataclass(frozen=True, slots=True)
class ResponsesDriver:
    """The own routes of the Responses protocol.

    Args:
        responses: Creates, replays and cancels responses.
        options: Limits and caller policy.
        trust: Which headers are believed.
    """

    responses: RecordedResponses
    options: HostOptions
    trust: Trust

    def app(self, prefix: str, aclose: Callable[[], Awaitable[None]]) -> ResponsesApp:
        """The app.

        Args:
            prefix: The path below which the routes are served.
            aclose: Called when the app has stopped.
        """
        root, shutdown = f"{prefix.rstrip('/')}/responses", self.responses.engine.services.shutdown
        one = f"{root}/{{response_id}}"

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncGenerator[None]:
            telemetry.configure()
            try:
                await self.responses.open()
                yield
            finally:
                shutdown.close()
                await self.responses.aclose()
                await aclose()

        app = ResponsesApp(
            routes=[
                Route(root, self._endpoint(self._create), methods=["POST"]),
                Route(one, self._endpoint(self._retrieve), methods=["GET"]),
                Route(one, self._endpoint(self._delete), methods=["DELETE"]),
                Route(f"{one}/cancel", self._endpoint(self._cancel), methods=["POST"]),
                Route(f"{one}/input_items", self._endpoint(self._input_items), methods=["GET"]),
                Route("/readiness", _ready),
            ],
            exception_handlers=dict.fromkeys(STATUSES, unknown_route),
            lifespan=lifespan,
        )
        below = prefix.rstrip("/")
        app.router.routes.extend(conversation_routes(self.responses.engine, self.options, self.trust, below))
        app.router.routes.extend(InputTokenRoutes(self.responses.engine, self.options, self.trust).routes(below))
        app.router.routes.extend(ChatRoutes(self.responses, self.options, self.trust, self._stream).routes(below))
        app.register_pre_shutdown_callback(shutdown.begin)
        return app

    def _endpoint(self, handler: Handler) -> ASGIApp:
        return Endpoint(self.trust, handler)

    async def _create(self, exchange: Exchange) -> None:
        self.responses.engine.check_accepts()
        refuse_media(exchange.headers)
        key = key_of(exchange.headers)
        hashed = HashedBody(exchange.receive)
        body, request = await read_request(exchange.receive if key is None else hashed, self.options)
        request = replace(request, caller=exchange.caller)
        response_id = exchange.headers.get(RESPONSE_ID_HEADER, "").strip() if self.trust.response_id else ""
        if key is None:
            await self._accept(exchange, body, request, response_id)
        else:
            await self._create_once(exchange, body, request, response_id, key, hashed.digest)

    async def _create_once(
        self, exchange: Exchange, body: RequestBody, request: TurnRequest, response_id: str, key: str, digest: str
    ) -> None:
        """Create a response, unless the key stands for one."""
        if not request.store:
            raise InvalidRequest("Idempotency-Key needs store=true: nothing is kept otherwise.", param="store")
        caller, store = request.caller, self.responses.engine.store
        keys = self.responses.engine.services.sessions.keys
        response_id = response_id or self.responses.identify(request).response_id
        earlier = await earlier_response(keys, caller, key, digest, response_id, partial(store.owns, caller))
        if earlier is not None:
            await self._follow(exchange, replace(request, response_id=earlier))
            return
        try:
            await self._accept(exchange, body, request, response_id, is_kept=True)
        except BaseException:
            if not await store.owns(caller, response_id):  # Refused: the caller may correct it, or try again.
                await keys.release(caller, key)
            raise

    async def _accept(
        self, exchange: Exchange, body: RequestBody, request: TurnRequest, response_id: str, *, is_kept: bool = False
    ) -> None:
        engine, responses = self.responses.engine, self.responses
        if response_id and not engine.store.claim(response_id):
            raise conflict(response_id)
        try:
            context = await engine.accept(request, exchange.receive)
            try:
                session = body.fields.get("agent_session_id") or os.environ.get(_SESSION_VARIABLE)
                session_id = session if isinstance(session, str) and session else secrets.token_hex(32)[:63]
                agent = body.fields.get("agent_reference")
                if agent is not None and not isinstance(agent, dict):
                    raise InvalidRequest("agent_reference must be an object.", param="agent_reference")
                headers = {name: text for name, text in exchange.headers.items() if name.startswith("x-client-")}
                named = responses.identify(context.request, response_id=response_id, session_id=session_id)
                context.turn, context.body = replace(named, client_headers=headers), body.fields
                exchange.session_id = session_id
                enter_context(context)
                if is_kept:
                    await responses.start_in_background(context)
                    engine.store.release_claim(response_id)  # The response exists, and its end can be waited for.
                    await self._follow(exchange, context.request)
                else:
                    await self._run(exchange, context)
            finally:
                await engine.abandon(context)
        finally:
            if response_id:
                engine.store.release_claim(response_id)

    async def _follow(self, exchange: Exchange, request: TurnRequest) -> None:
        """Answer with a turn that does not depend on this request, from its beginning."""
        caller, response_id = request.caller, request.response_id
        if request.stream:
            try:
                frames = await self._replayed(request, -1)
            except InvalidRequest:
                says = f"The events of this response are not kept here any more: GET /responses/{response_id} has it."
                raise InvalidRequest(says) from None
            await self._stream(exchange, frames)
            return
        engine = self.responses.engine
        if not request.background:
            if (active := engine.active.get(response_id)) is not None:
                await active.ended.wait()
            if (await engine.retrieve(caller, response_id)).get("status") == "in_progress":
                raise Busy("The request with this Idempotency-Key is still running. Send it again in a moment.")
        await exchange.json(await self.responses.retrieve(caller, response_id))

    async def _run(self, exchange: Exchange, context: TurnContext) -> None:
        request = context.request
        if request.background:
            if not request.store:
                raise InvalidRequest("background=true needs store=true.", param="background")
            response = await self.responses.start_in_background(context)
            if request.stream:
                await self._stream(exchange, await self._replayed(request, -1))
            else:
                await exchange.json(response)
            return
        turn = await self.responses.start(context)
        leaving = asyncio.create_task(_until_gone(exchange.receive, turn), name="hostedagent-client")
        try:
            if request.stream:
                await self._stream(exchange, _framed(turn.events(), context))
            else:
                last: dict[str, Json] = {}
                async with aclosing(turn.events()) as events:
                    async for event in events:
                        last = event.get("response", last)
                if last.get("status") != "cancelled":
                    await exchange.json(last)
        finally:
            leaving.cancel()

    async def _replayed(self, request: TurnRequest, after: int) -> AsyncIterator[bytes]:
        return _frames(await self.responses.replay(request.caller, request.response_id, after=after))

    async def _stream(self, exchange: Exchange, frames: AsyncIterator[bytes]) -> None:
        """Send frames, with comments in between while none come."""
        pause = self.options.keep_alive or None
        following = asyncio.ensure_future(anext(frames, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=pause if exchange.is_started else None)
                if not done:
                    await exchange.send_frame(_KEEP_ALIVE)
                    continue
                if (frame := following.result()) is None:
                    break
                following = asyncio.ensure_future(anext(frames, None))
                await exchange.send_frame(frame)
            await exchange.end()
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await following
            if isinstance(frames, AsyncGenerator):
                await cast("AsyncGenerator[bytes]", frames).aclose()

    async def _retrieve(self, exchange: Exchange) -> None:
        query, response_id = exchange.request.query_params, exchange.response_id
        if query.get("stream", "").lower() != "true":
            await exchange.json(await self.responses.retrieve(exchange.caller, response_id))
            return
        after = number(query, "starting_after", -1, low=-1)
        request = TurnRequest(input=(), response_id=response_id, caller=exchange.caller)
        frames = await self._replayed(request, after)
        over = self.responses.engine.services.shutdown.over
        sending = asyncio.ensure_future(self._stream(exchange, frames))
        gone = asyncio.ensure_future(_gone(exchange.receive, over))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel() if not sending.done() else sending.result()

    async def _delete(self, exchange: Exchange) -> None:
        await self.responses.delete(exchange.caller, exchange.response_id)
        await exchange.json({"id": exchange.response_id, "object": "response", "deleted": True})

    async def _cancel(self, exchange: Exchange) -> None:
        await exchange.json(await self.responses.cancel(exchange.caller, exchange.response_id))

    async def _input_items(self, exchange: Exchange) -> None:
        page = page_asked(exchange.request.query_params)
        more = replace(page, limit=page.limit + 1)
        found = await self.responses.engine.input_items(exchange.caller, exchange.response_id, more)
        await exchange.json(listing(page, [public_item(item) for item in found]))


async def _framed(events: AsyncGenerator[Event], context: TurnContext) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            context.flow.taken()
            yield write_frame(event["type"], event_data(event))


async def _frames(batches: AsyncIterator[list[LoggedEvent]]) -> AsyncGenerator[bytes]:
    async for batch in batches:
        for event in batch:
            yield rewrite_frame(event.data)


async def _until_gone(receive: Receive, turn: RecordedTurn) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    turn.disconnect()


async def _gone(receive: Receive, over: asyncio.Event) -> None:
    """Returns when the client has left, or the time of the process is over."""
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
