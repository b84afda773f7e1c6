"""`POST /responses/{response_id}/steer`: new input for a running response, which the next response takes over.

It corresponds to `response.steer` on a WebSocket, for turns started over HTTP. The successor runs in the background
with the events of a background stream. Waiting inputs are kept in the process that runs the response, wherever they
arrived.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec import Struct, field
from starlette.routing import Route

from hostedagent.engine.concurrency import never
from hostedagent.engine.context import TurnContext
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.errors import Busy, Conflict, InvalidRequest, NotFound, RequestError, TooManyTurns
from hostedagent.identity import Caller, enter_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.checks import flag, optional
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data, rewrite_frame, write_frame
from hostedagent.protocol.statuses import COUNTED, RUNNING
from hostedagent.protocol.transcript.reading import ItemReader
from hostedagent.protocol.types import Event, Json
from hostedagent.server.admission import Trust, read_fields, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange, check_response_id, refusal_in
from hostedagent.server.forwarded_steers import ForwardedSteers
from hostedagent.server.frames import Steer, parse_steer
from hostedagent.server.steering import (
    MAX_STEERS,
    MESSAGES,
    Accepted,
    SteerError,
    failed,
    input_of,
    required_input,
    steer_refusal,
)
from hostedagent.stores.base import StoreError
from hostedagent.stores.recent import Recent

logger = logging.getLogger(__name__)

Stream: TypeAlias = Callable[[Exchange, AsyncGenerator[bytes]], Awaitable[None]]
"""Sends the frames of a turn that goes on without the connection."""

MAX_PENDING: Final = 1_000
"""Responses whose inputs wait for results of the client; those of the oldest are dropped."""

_KINDS: Final[Mapping[SteerError, type[RequestError]]] = {
    "response_not_found": NotFound,
    "invalid_input": InvalidRequest,
    "steering_not_supported": InvalidRequest,
    "response_already_completed": Conflict,
    "response_not_active": Conflict,
}
_CODES: Final[Mapping[str, SteerError]] = {code: code for code in MESSAGES}
_UNREACHED: Final = "The response does not run yet, or its process does not answer: send the input when it has ended."


class PendingInputs:
    """Accepted inputs of responses that wait for results or approvals of the client.

    The next request that continues the response takes them over, in front of its own input, over HTTP or on a socket.
    """

    def __init__(self) -> None:
        self._steers: Recent[str, tuple[Accepted, ...]] = Recent(MAX_PENDING)

    def keep(self, caller: Caller, response_id: str, steers: Sequence[Accepted]) -> None:
        """Keep inputs of a response, after those that it already has."""
        place = _place(caller, response_id)
        self._steers[place] = (*self._steers.get(place, ()), *steers)

    def take(self, caller: Caller, response_id: str | None) -> Sequence[Accepted]:
        """The inputs of a response, for the request that takes them over."""
        return self._steers.pop(_place(caller, response_id), ()) if self._steers and response_id else ()

    def in_front_of(self, request: TurnRequest, body: RequestBody) -> tuple[TurnRequest, RequestBody]:
        """A request and its body, with the inputs that wait for it."""
        if not self._steers:
            return request, body
        if not (steers := self._steers.get(_place(request.caller, request.previous_response_id))):
            return request, body
        items = (*input_of(steers), *request.input)
        return replace(request, input=items), RequestBody({**body.fields, "input": list(items)})


def _place(caller: Caller, response_id: str | None) -> str:
    return caller.scope.key("steer", response_id or "")


class _Waiting(Struct):
    """The inputs that wait for the end of one response.

    Args:
        successor_id: The id of the response that is to take them over.
        over: Their result: events for the client, or `None` once the successor exists.
    """

    context: TurnContext
    successor_id: str
    over: asyncio.Future[Mapping[str, Event] | None]
    steers: list[Accepted] = field(default_factory=list[Accepted])


class SteerRoutes:
    """Serves the route.

    Args:
        pending: Keeps the inputs of responses that wait for the client.
    """

    def __init__(self, responses: RecordedResponses, trust: Trust, pending: PendingInputs, stream: Stream) -> None:
        self._responses = responses
        self._options = responses.engine.options
        self._trust = trust
        self._pending = pending
        self._stream = stream
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._forwarded = ForwardedSteers(responses, self._take)

    def routes(self, prefix: str) -> list[Route]:
        """The routes below a path."""
        path = f"{prefix}/responses/{{response_id}}/steer"
        return [Route(path, Endpoint(self._trust, self._steer), methods=["POST"])]

    async def _steer(self, exchange: Exchange) -> None:
        self._responses.engine.check_accepts()
        refuse_media(exchange.headers)
        fields = dict(await read_fields(exchange.receive, self._options))
        streams = optional(flag, fields.pop("stream", None), "stream")
        response_id = exchange.response_id
        if fields.setdefault("previous_response_id", response_id) != response_id:
            raise InvalidRequest("previous_response_id is the response of the path.", param="previous_response_id")
        parse_steer(fields, self._options)
        event, later = await self._passed_on(exchange.caller, response_id, fields)
        async with aclosing(later):
            if streams:
                await self._stream(exchange, self._frames(exchange.caller, event, later))
            else:
                await exchange.json(event)

    async def events(self, caller: Caller, steer: Steer) -> AsyncGenerator[Event]:
        """The events of an input for a response, wherever that runs: `accepted`, and if nothing takes it over, why."""
        fields = {"previous_response_id": steer.response_id, "input": steer.input}
        try:
            check_response_id(steer.response_id)
            event, later = await self._passed_on(caller, steer.response_id, fields)
        except Exception as error:  # noqa: BLE001 - the input must come back
            refused = refusal_in(error, "An input could not be passed on", response_id=steer.response_id)
            default: SteerError = "response_not_found" if refused.status < 409 else "successor_creation_failed"
            yield failed(steer, _CODES.get(refused.code, default), 0)
            return
        async with aclosing(later):
            yield event
            async for told in later:
                yield told

    async def _passed_on(
        self, caller: Caller, response_id: str, fields: Mapping[str, Json]
    ) -> tuple[Event, AsyncGenerator[Event]]:
        """Pass an input to the process that runs the response; its answer, and later why nothing takes it over."""
        if self._responses.engine.active.get(response_id) is not None:
            return await self._take(caller, fields)
        await self._responses.engine.check_owner(caller, response_id)
        answered = await self._forwarded.send(caller, response_id, fields)
        if answered is None:
            raise await self._ended(caller, response_id)
        return answered

    async def _frames(self, caller: Caller, event: Event, later: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
        """`accepted`, followed by the events of the successor, or by the reason why there is none."""
        yield write_frame(event["type"], event_data(event))
        if (told := await anext(later, None)) is not None:
            yield write_frame(told["type"], event_data(told))
            return
        async for frame in self._successor_frames(caller, event["successor"]["id"]):
            yield frame

    async def _take(self, caller: Caller, fields: Mapping[str, Json]) -> tuple[Event, AsyncGenerator[Event]]:
        """Queue an input for a response that runs here."""
        steer = parse_steer(fields, self._options)
        engine, response_id = self._responses.engine, steer.response_id
        await engine.check_owner(caller, response_id)
        active = engine.active.get(response_id)
        context = active.context if active is not None else None
        waiting = self._waiting.get(response_id)
        if context is None or active is None:
            raise await self._ended(caller, response_id)
        code = steer_refusal(steer, context.request, len(waiting.steers) if waiting is not None else 0)
        if code is not None or not context.request.store:
            raise _refused(code or "steering_not_supported", steer.error if code == "invalid_input" else "")
        if waiting is None:
            over: asyncio.Future[Mapping[str, Event] | None] = asyncio.get_running_loop().create_future()
            waiting = self._waiting[response_id] = _Waiting(context, new_item_id("caresp", response_id), over)
            task = asyncio.create_task(self._succeed(waiting, active.ended), name="hostedagent-successor")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        accepted = Accepted(new_item_id("steer", response_id), steer)
        waiting.steers.append(accepted)
        context.is_steered = context.is_steered_by_route = True
        return accepted.event("accepted", 0, successor={"id": waiting.successor_id}), _later(waiting, accepted)

    async def _ended(self, caller: Caller, response_id: str) -> RequestError:
        """Why a response that does not run here takes no input."""
        status = (await self._responses.engine.store.get(caller, response_id)).get("status")
        if status in RUNNING:
            return Busy(_UNREACHED)
        return _refused("response_already_completed" if status in COUNTED else "response_not_active")

    async def _succeed(self, waiting: _Waiting, ended: asyncio.Event) -> None:
        """Begin the response that takes over the inputs, once the one before it has ended."""
        await ended.wait()
        caller, response_id = waiting.context.caller, waiting.context.request.response_id
        del self._waiting[response_id]
        try:
            waiting.over.set_result(await self._over(waiting, caller, response_id))
        except Exception as error:  # noqa: BLE001 - the client learns of it
            log_failure(logger, f"The successor of {response_id} could not be created", error)
            waiting.over.set_result(_all_failed(waiting, "successor_creation_failed"))

    async def _over(self, waiting: _Waiting, caller: Caller, response_id: str) -> Mapping[str, Event] | None:
        response = await self._responses.engine.store.get(caller, response_id)
        if response.get("status") not in COUNTED:
            return _all_failed(waiting, "response_not_active")
        if required := required_input([item for item in response["output"] if item is not None]):
            self._pending.keep(caller, response_id, waiting.steers)
            more: dict[str, Json] = {"reason": "waiting_for_required_input", "required_input": required}
            return {one.id: one.event("pending", 1, **more) for one in waiting.steers}
        await self._begin(waiting, response_id)
        return None

    async def _begin(self, waiting: _Waiting, response_id: str) -> None:
        engine, before = self._responses.engine, waiting.context.request
        given = input_of(waiting.steers)
        changed: dict[str, Json] = {"previous_response_id": response_id, "background": True, "stream": True}
        own = {"response_id": waiting.successor_id, "history": None, "generates": True, "reader": ItemReader()}
        request = replace(before, **changed, **own, input=given)
        context = await engine.accept(request, never)
        try:
            context.body = {**(waiting.context.body or {}), **changed, "input": list(given)}
            enter_context(context)
            await self._responses.start_in_background(context)
        finally:
            await engine.abandon(context)

    async def _successor_frames(self, caller: Caller, response_id: str) -> AsyncGenerator[bytes]:
        try:
            batches = await self._responses.engine.replay(caller, response_id)
        except (RequestError, StoreError):  # It was deleted at once.
            return
        async for batch in batches:
            for row in batch:
                yield rewrite_frame(row.data)


async def _later(waiting: _Waiting, accepted: Accepted) -> AsyncGenerator[Event]:
    if (over := await asyncio.shield(waiting.over)) is not None:
        yield over[accepted.id]


def _all_failed(waiting: _Waiting, code: SteerError) -> Mapping[str, Event]:
    return {one.id: failed(one.steer, code, 1, steer_id=one.id) for one in waiting.steers}


def _refused(code: SteerError, message: str = "") -> RequestError:
    """The refusal of an input."""
    if code == "too_many_pending_steers":
        error: RequestError = TooManyTurns(f"At most {MAX_STEERS} inputs may wait for a response.", 1)
    else:
        error = _KINDS[code](message or MESSAGES[code], param="input" if code == "invalid_input" else None)
    error.code = code
    return error
