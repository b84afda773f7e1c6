"""The contract of a door: it parses the requests of a protocol for the engine, and renders the answers.

A door neither resolves the caller nor accepts the request, and stores nothing: `Entry` does that as the routes of the
Responses protocol do, so that a conversation can continue through any door.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from hostedagent.engine.hooks import BeforeRun
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.errors import ConfigurationError, InvalidRequest, RequestError
from hostedagent.identity import Caller
from hostedagent.options import HostOptions
from hostedagent.protocol.request.body import parse_object
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, client_headers, parsing, read_object, refuse_media, too_large
from hostedagent.server.exchange import Endpoint, Exchange, Handler
from hostedagent.server.handshake import admitted
from hostedagent.server.idempotency import earlier_response
from hostedagent.server.messages import AnswerMessage, Messages
from hostedagent.server.responses import send_frames, until_over
from hostedagent.server.turn import TransformEvent, Turn
from hostedagent.server.turns import DoorHooks, TurnRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The parts of a host that a door uses.

    Args:
        turns: Starts, reads and cancels turns, for a door that does not take the caller from the headers.
        responses: The engine's responses, for operations that `turns` does not offer.
        prefix: The path below which the host's routes are served.
        input_name: The protocol's name of the input.
    """

    turns: TurnRunner
    responses: RecordedResponses
    trust: Trust
    prefix: str = ""
    input_name: str = "input"

    @property
    def options(self) -> HostOptions:
        """The host's options."""
        return self.responses.engine.options

    def endpoint(self, handler: Handler) -> ASGIApp:
        """The application of a route, which resolves the caller and reports errors.

        Args:
            handler: Called with the `Exchange`, which has the `caller`. A `RequestError` becomes the response.
        """
        return Endpoint(self.trust, handler)

    def socket(
        self,
        connect: Callable[[WebSocket, Caller], AnswerMessage],
        refused: Callable[[RequestError], Mapping[str, Json]],
    ) -> Callable[[WebSocket], Awaitable[None]]:
        """The endpoint of a `WebSocketRoute`, which resolves the caller and answers messages one after the other.

        Args:
            connect: Returns, for a connection and its caller, the function whose events answer a message.
            refused: The event that reports an error.
        """

        async def serve(socket: WebSocket) -> None:
            async with admitted(socket, self.trust, self.turns.check_accepts) as caller:
                if caller is not None:
                    shutdown = self.responses.engine.services.shutdown
                    answer = connect(socket, caller)
                    await Messages(socket, answer, refused, lambda: shutdown.has_begun).serve()

        return serve

    async def message(self, data: bytes) -> Mapping[str, Json]:
        """The fields of a message of a WebSocket.

        Raises:
            RequestError: It is too large or invalid.
        """
        if len(data) > self.options.max_body_bytes:
            raise too_large(self.options)
        return await parsing(data, parse_object, self.options)

    async def fields(self, exchange: Exchange) -> Mapping[str, Json]:
        """The fields of a request's JSON body; empty without a body.

        Raises:
            RequestError: The process is shutting down, or the body is too large, incomplete or invalid.
        """
        self.turns.check_accepts()
        refuse_media(exchange.headers)
        return await read_object(exchange.receive, self.options)

    @asynccontextmanager
    async def turn(
        self,
        exchange: Exchange,
        body: Mapping[str, Any] | TurnRequest,
        *,
        response_id: str = "",
        session_id: str | None = None,
        state: dict[str, Json] | None = None,
    ) -> AsyncGenerator[Turn]:
        """A turn that ends when its client disconnects, unless it runs in the background.

        Args:
            response_id: The id of the response, if the door chooses it; by default a new one.
            session_id: The platform's sandbox session, if the door's protocol has it outside of the body.
            state: State that the client shares with the agent, as `current_turn().state`.

        Raises:
            RequestError: The request is refused; nothing was run or stored.
        """
        begun = self.turns.begin(
            body,
            exchange.caller,
            left=exchange.receive,
            response_id=response_id,
            session_id=session_id,
            client_headers=client_headers(exchange.headers),
            state=state,
        )
        async with AsyncExitStack() as opened:
            with self._renamed():
                turn = await opened.enter_async_context(begun)
            exchange.session_id = turn.request.sandbox_session_id
            if not turn.request.background:
                opened.enter_context(exchange.watched(turn.stop))
            yield turn

    @contextmanager
    def _renamed(self) -> Generator[None]:
        """Report errors of the input with the protocol's name, because the numbers of its items differ."""
        try:
            yield
        except RequestError as error:
            if self.input_name != "input" and (error.param or "").startswith("input"):
                error.message, error.param = f"{self.input_name}: {error.message}", self.input_name
            raise

    @asynccontextmanager
    async def once(self, caller: Caller, key: str, response_id: str) -> AsyncGenerator[str | None]:
        """Make a repeated request with the same key follow its response instead of creating a second one.

        Args:
            response_id: The response of the request, if it is the first one with this key.

        Yields:
            The existing response of the key; `None` for the first request. The key is free again if its request has
            created no response.

        Raises:
            Busy: The first request is being accepted.
        """
        engine = self.responses.engine
        keys = engine.services.sessions.keys
        existed, forbid = partial(engine.store.existed, caller), partial(engine.store.forbid, caller)
        earlier = await earlier_response(keys, caller, key, key, response_id, existed, forbid)
        if earlier is not None:
            yield earlier
            return
        async with keys.accepting(caller, key, response_id, existed, forbid) as confirm:
            await confirm()
            yield None

    async def stream(self, exchange: Exchange, frames: AsyncGenerator[bytes], *, goes_on: bool = False) -> None:
        """Send frames, with comments while the stream is quiet.

        Args:
            goes_on: Whether the turn continues without this connection.
        """
        sending = send_frames(exchange, frames, self.options.keep_alive)
        if goes_on:
            await until_over(exchange, sending, self.responses.engine.services.shutdown.over)
        else:
            await sending


class Door:
    """A protocol on the engine of a host. A door has at least `name`, `path`, and `parse` or `serve`.

    Concurrency: one door serves any number of concurrent requests on one event loop, so it must keep the state of a
    request in local variables.
    Exceptions: a `RequestError` becomes the response unless that has started; its message is shown to the client, that
    of any other error is not.
    Cancellation: a handler is cancelled with its request.

    Args:
        path: The path of its route, below the host's prefix.
        before_run: As in `Hooks`, for the turns of this door; called before a request is accepted.
        transform_event: Returns the replacement of each event that is sent through this door.
    """

    name: ClassVar[str]
    """The name of the door in telemetry and documents."""

    input_name: ClassVar[str] = "input"
    """The protocol's name of the input, for errors."""

    def __init__(
        self, path: str, *, before_run: BeforeRun | None = None, transform_event: TransformEvent | None = None
    ) -> None:
        self.path = path
        self.before_run = before_run
        self.transform_event = transform_event

    def parse(self, fields: Mapping[str, Json], exchange: Exchange) -> Mapping[str, Any] | TurnRequest:
        """Convert a request to the body of a create-response request; by default the fields are unchanged.

        Raises:
            RequestError: The request is invalid in the door's protocol.
        """
        return fields

    def render(self, turn: Turn) -> AsyncGenerator[bytes]:
        """The frames of a streamed answer; by default the events of the Responses protocol."""
        return turn.sse()

    def answer(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a whole answer; by default the response."""
        return response

    def routes(self, entry: Entry) -> Sequence[BaseRoute]:
        """The routes; by default one `POST` route, served by `serve`."""

        async def handle(exchange: Exchange) -> None:
            await self.serve(entry, exchange)

        return [Route(f"{entry.prefix}{self.path}", entry.endpoint(handle), methods=["POST"])]

    def sdk_host(self) -> type | None:
        """The SDK's host of this protocol, for the app of the SDK's driver to inherit from; `None` for none."""
        return None

    def attach(self, app: Starlette, entry: Entry) -> None:
        """Serve the door on the app of the SDK's driver; by default with the same routes."""
        app.router.routes.extend(self.routes(entry))

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer a request: parse it, and answer with its turn."""
        await self.respond(entry, exchange, self.parse(await entry.fields(exchange), exchange))

    async def respond(
        self,
        entry: Entry,
        exchange: Exchange,
        body: Mapping[str, Any] | TurnRequest,
        *,
        response_id: str = "",
        session_id: str | None = None,
    ) -> None:
        """Answer with a turn, streamed or whole.

        Args:
            body: As for `Entry.turn`, like the other arguments.
        """
        async with entry.turn(exchange, body, response_id=response_id, session_id=session_id) as turn:
            if turn.request.stream:
                await entry.stream(exchange, self.render(turn), goes_on=turn.request.background)
            else:
                response = await turn.response()
                if not exchange.has_left:
                    await exchange.json(self.answer(response))

    def lifespan(self, entry: Entry) -> AbstractAsyncContextManager[None]:
        """Opened while the host serves; closed before the host waits for its running turns."""
        return nullcontext()


Fields = TypeVar("Fields", bound=BaseModel)


def validated(kind: type[Fields], fields: Mapping[str, Json]) -> Fields:
    """Parse the fields of a body into a type of the protocol's own package.

    Raises:
        InvalidRequest: They are invalid; `param` names the field.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{param}: {first['msg']}", param=param) from None


def entry_of(door: Door, responses: RecordedResponses, trust: Trust, *, prefix: str = "") -> Entry:
    """The parts of a host that a door uses."""
    hooks = DoorHooks(name=door.name, before_run=door.before_run, transform_event=door.transform_event)
    turns = TurnRunner(responses, hooks)
    return Entry(turns=turns, responses=responses, trust=trust, prefix=prefix, input_name=door.input_name)


def check_doors(name: str, doors: object) -> None:
    """Check the doors that a host is given.

    Raises:
        ConfigurationError: They are no list of doors.
    """
    rows: Sequence[object] = cast("Sequence[object]", doors) if isinstance(doors, list | tuple) else [doors]
    if wrong := [row for row in rows if not isinstance(row, Door)]:
        raise ConfigurationError(f"{name}(doors=[...]) takes doors such as Invocations(), not {wrong[0]!r:.80}.")
    if rows and not isinstance(doors, list | tuple):
        raise ConfigurationError(f"{name}(doors=[...]) takes a list: [{type(doors).__name__}(...)].")


def add_doors(
    app: Starlette, entries: Sequence[tuple[Door, Entry]], *, responses: RecordedResponses | None = None
) -> None:
    """Serve doors on an application, and open them once it has started.

    Args:
        responses: The engine's responses, opened and closed here if the application is that of the SDK's host.
    """
    for door, entry in entries:
        if responses is not None:
            door.attach(app, entry)
        else:
            app.router.routes.extend(door.routes(entry))
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncGenerator[Any]:
        async with inner(owner) as state, AsyncExitStack() as opened:
            if responses is not None:
                await responses.open()
                opened.push_async_callback(responses.aclose)
            for door, entry in entries:
                await opened.enter_async_context(door.lifespan(entry))
            yield state

    app.router.lifespan_context = lifespan
