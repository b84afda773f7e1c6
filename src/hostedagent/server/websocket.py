"""WebSocket mode: one connection to `/responses` with many turns. Each message of the client starts one.

Turns run sequentially, in the order of their messages; with a `stream_id`, each id is a lane with its own order, and
lanes run concurrently. Each turn is admitted, owned and limited as over HTTP. The state of a turn that is not stored is
kept with the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec import Struct, field, structs
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from hostedagent.engine.context import TurnContext
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.recorded_turn import RecordedTurn
from hostedagent.errors import InvalidRequest, RequestError, TooManyTurns
from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_response
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.statuses import COUNTED
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.server.admission import Trust, client_headers, headers_of, sandbox_session
from hostedagent.server.exchange import refusal_in
from hostedagent.server.frames import Create, FrameError, Steer, error_event, in_lane, read_frame
from hostedagent.server.handshake import admitted, data_of
from hostedagent.server.steering import Accepted, SteerError, input_of, required_input, steer_refusal
from hostedagent.server.steering import failed as failed_steer
from hostedagent.server.successors import PendingInputs

MAX_SECONDS: Final = 3600.0
"""Seconds that a connection is served; then its turns end, and it is closed."""

MAX_WAITING: Final = 16
"""Messages that wait for the turns before them, in each lane."""

MAX_LANES: Final = 16


class _ConnectionLimit(RequestError):
    """The connection is too old."""

    code = "websocket_connection_limit_reached"


SteerElsewhere: TypeAlias = Callable[[Caller, Steer], AsyncGenerator[Event]]
"""The events of an input for a response that does not run on the connection."""


class ResponsesSockets(Struct, frozen=True):
    """Serves WebSocket connections.

    Args:
        steers: The events of an input for a response that runs elsewhere.
        pending: Inputs that wait for the next request of a chain.
    """

    responses: RecordedResponses
    trust: Trust
    steers: SteerElsewhere
    pending: PendingInputs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        socket = WebSocket(scope, receive, send)
        async with admitted(socket, self.trust, self.responses.engine.check_accepts) as caller:
            if caller is None:
                return
            headers = client_headers(headers_of(scope))
            await Connection(self, socket, caller, headers).serve()


class _Unstored(Struct, frozen=True):
    """The state of a turn that is not stored.

    Args:
        previous: The stored response that it continued.
        items: The input and output since then.
    """

    response_id: str
    previous: str | None
    items: tuple[Item, ...]


class _Lane(Struct):
    """The turns of one lane.

    Args:
        work: The task that serves them; it ends when there are none.
        unstored: The state of the last turn, if it was not stored.
    """

    waiting: deque[Create] = field(default_factory=deque[Create])
    work: asyncio.Task[None] | None = None
    turn: RecordedTurn | None = None
    unstored: _Unstored | None = None
    context: TurnContext | None = None
    steers: list[Accepted] = field(default_factory=list[Accepted])
    number: int = 0

    @property
    def response_id(self) -> str | None:
        """The response of its turn."""
        return self.context.request.response_id if self.context is not None else None


class Connection:
    """One connection.

    Args:
        client_headers: The client's `x-client-*` headers of the connection request.
    """

    def __init__(
        self, served: ResponsesSockets, socket: WebSocket, caller: Caller, client_headers: Mapping[str, str]
    ) -> None:
        self._responses = served.responses
        self._steers = served.steers
        self._socket = socket
        self._caller = caller
        self._client_headers = client_headers
        self._steering: set[asyncio.Task[None]] = set()
        self._lanes: dict[str | None, _Lane] = {}
        self._ended: deque[str] = deque(maxlen=MAX_LANES)
        self._pending = served.pending
        self._sending = asyncio.Lock()
        self._gone = asyncio.Event()

    async def serve(self) -> None:
        """Serve the connection to its end."""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                    await self._take(data_of(message))
            await self._end()
        except TimeoutError:
            ended = _ConnectionLimit("The connection was served for an hour. Open a new one, and continue there.")
            await self.send(error_event(ended))
            await self._end()
            await self._socket.close(1000)

    async def _take(self, data: bytes) -> None:
        try:
            match await read_frame(data, self._responses.engine.options):
                case Create() as create:
                    self._enqueue(create)
                case Steer() as steer:
                    await self._steer(steer)
        except FrameError as refused:
            await self.send(error_event(refused.error, refused.stream_id))

    def _enqueue(self, create: Create) -> None:
        lane = self._lanes.get(create.stream_id)
        if lane is None:
            if len(self._lanes) >= MAX_LANES:
                raise FrameError(InvalidRequest(f"A connection has at most {MAX_LANES} lanes.", param="stream_id"))
            lane = self._lanes[create.stream_id] = _Lane()
        if len(lane.waiting) >= MAX_WAITING:
            raise FrameError(TooManyTurns("Too many messages wait for their turns.", 1), create.stream_id)
        lane.waiting.append(create)
        if lane.work is None or lane.work.done():
            lane.work = asyncio.create_task(self._work(lane), name="hostedagent-lane")

    async def _work(self, lane: _Lane) -> None:
        while lane.waiting and not self._gone.is_set():
            create: Create | None = self._with_pending(lane.waiting.popleft())
            while create is not None:
                response = await self._create(lane, create)
                steers, lane.steers = lane.steers, []
                create = await self._successor(lane, create, response, steers) if steers else None

    async def _steer(self, steer: Steer) -> None:
        lane = next((one for one in self._lanes.values() if one.response_id == steer.response_id), None)
        by_route = lane is not None and lane.context is not None and lane.context.is_steered_by_route
        if by_route or (lane is None and steer.request is not None and steer.response_id not in self._ended):
            task = asyncio.create_task(self._steer_elsewhere(steer, self._name_of(lane)), name="hostedagent-steer")
            self._steering.add(task)
            task.add_done_callback(self._steering.discard)
            return
        code = self._refusal_of(steer, lane)
        if code is not None or lane is None or lane.context is None:
            event = failed_steer(steer, code or "response_not_found", lane.number if lane is not None else 0)
        else:
            accepted = Accepted(new_item_id("steer", steer.response_id), steer)
            lane.steers.append(accepted)
            lane.context.is_steered = True
            event = accepted.event("accepted", lane.number)
        await self.send(in_lane(event, self._name_of(lane)))

    async def _steer_elsewhere(self, steer: Steer, stream_id: str | None) -> None:
        """Pass an input on to where its successor begins: over HTTP, on another connection, in another replica."""
        async with aclosing(self._steers(self._caller, steer)) as events:
            async for event in events:
                await self.send(in_lane(event, stream_id))

    def _refusal_of(self, steer: Steer, lane: _Lane | None) -> SteerError | None:
        if steer.request is not None and (lane is None or lane.context is None):
            return "response_already_completed"
        context = lane.context if lane is not None else None
        return steer_refusal(steer, context.request if context is not None else None, len(lane.steers) if lane else 0)

    def _name_of(self, lane: _Lane | None) -> str | None:
        return next((name for name, one in self._lanes.items() if one is lane), None)

    async def _successor(
        self, lane: _Lane, create: Create, response: Mapping[str, Json] | None, steers: list[Accepted]
    ) -> Create | None:
        """The turn that takes over the steering inputs; `None` if the client must act first."""
        if response is None or response.get("status") not in COUNTED:
            await self._give_back(steers, "response_not_active", create.stream_id, lane.number)
            return None
        if required := required_input(response["output"]):
            self._pending.keep(self._caller, response["id"], steers)
            for one in steers:
                pending = one.event(
                    "pending", lane.number, reason="waiting_for_required_input", required_input=required
                )
                await self.send(in_lane(pending, create.stream_id))
            return None
        request = replace(create.request, previous_response_id=response["id"], input=input_of(steers), generates=True)
        return structs.replace(create, request=request, steers=steers)

    def _with_pending(self, create: Create) -> Create:
        """A message preceded by the inputs that waited for it."""
        if not (steers := self._pending.take(self._caller, create.request.previous_response_id)):
            return create
        given = (*input_of(steers), *create.request.input)
        return structs.replace(create, request=replace(create.request, input=given), steers=steers)

    async def _give_back(
        self, steers: Iterable[Accepted], code: SteerError, stream_id: str | None, number: int
    ) -> None:
        for one in steers:
            await self.send(in_lane(failed_steer(one.steer, code, number, steer_id=one.id), stream_id))

    async def _create(self, lane: _Lane, create: Create) -> Mapping[str, Json] | None:
        """Run a turn, or report why it is refused. Returns its response, if there is one."""
        response: Mapping[str, Json] | None = None
        previous = create.request.previous_response_id
        before = self._unstored(previous)
        try:
            response = await self._run(lane, create, before)
        except Exception as error:  # noqa: BLE001 - the connection serves further turns
            refused = refusal_in(error, "A turn of a WebSocket failed", response_id=previous or "")
            await self.send(error_event(refused, create.stream_id))
        if response is None and create.steers:
            await self._give_back(create.steers, "successor_creation_failed", create.stream_id, lane.number)
        is_kept = response is not None and response.get("status") in COUNTED
        if not is_kept and before is not None:  # The client restarts from its own state.
            for one in self._lanes.values():
                if one.unstored is before:
                    one.unstored = None
        return response

    async def _run(self, lane: _Lane, create: Create, before: _Unstored | None) -> Mapping[str, Json]:
        """Run a turn, and return its response."""
        engine, request = self._responses.engine, replace(create.request, caller=self._caller)
        own = request.input
        if before is not None:
            request = replace(request, input=(*before.items, *own), previous_response_id=before.previous)
        if len(request.input) > engine.options.max_items:
            raise InvalidRequest(f"The chain has more than {engine.options.max_items:,} items.", param="input")
        named = request.named(sandbox_session_id=sandbox_session(create.fields))
        named = replace(named, client_headers=self._client_headers, door="websocket")
        context = await engine.accept(named, self._gone.wait)
        try:
            lane.context = context
            lane.turn = turn = await self._responses.start(context)
            async with aclosing(turn.events()) as events:
                async for event in events:
                    context.flow.taken()
                    lane.number = event["sequence_number"]
                    await self.send(_shown(event, create))
        finally:
            lane.turn = lane.context = None
            await engine.abandon(context)
        response = public_response(turn.response)
        self._ended.append(response["id"])
        if response.get("status") in COUNTED:
            items = (*request.input, *response["output"])
            lane.unstored = None if request.store else _Unstored(response["id"], request.previous_response_id, items)
        return response

    def _unstored(self, response_id: str | None) -> _Unstored | None:
        found = (lane.unstored for lane in self._lanes.values() if lane.unstored is not None)
        return next((left for left in found if left.response_id == response_id), None)

    async def send(self, event: Event) -> None:
        """Send an event, unless the client has disconnected."""
        if self._gone.is_set():
            return
        async with self._sending:
            try:
                await self._socket.send_text(event_data(event).decode())
            except (RuntimeError, OSError):  # Closed, which the reader notices too.
                self._gone.set()

    async def _end(self) -> None:
        """Stop the running turns. During shutdown they still get the grace period: their responses are stored."""
        self._gone.set()
        for task in self._steering:
            task.cancel()
        is_ending = self._responses.engine.services.shutdown.has_begun
        for lane in self._lanes.values():
            if lane.turn is not None and not is_ending:
                lane.turn.disconnect()
        if works := [lane.work for lane in self._lanes.values() if lane.work is not None]:
            await asyncio.wait(works)
        for lane in self._lanes.values():
            if lane.unstored is not None:  # No other connection can continue it.
                self._pending.take(self._caller, lane.unstored.response_id)


def _shown(event: Event, create: Create) -> Event:
    """An event as the client sees it: with the response that the turn continues, stored or not."""
    response = event.get("response")
    if response is not None and response.get("previous_response_id") != create.request.previous_response_id:
        response = {**response, "previous_response_id": create.request.previous_response_id}
        event = {**event, "response": response}
    return in_lane(event, create.stream_id)
