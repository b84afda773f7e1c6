"""Turns without routes, for the doors of a host and for the routes of an application.

They behave as on the routes of the Responses protocol: refusals before anything runs, leases on conversations,
approvals, history, isolation by caller, hooks, storage.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from hostedagent.conversation.managed import check_history, leave_out
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.concurrency import never
from hostedagent.engine.context import TurnContext
from hostedagent.engine.hooks import BeforeRun, prepare
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.recorded_turn import RecordedTurn
from hostedagent.errors import Unauthenticated
from hostedagent.identity import Caller, IsolationKeys, enter_context, leave_context, scope_of
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.server.admission import parse_request, sandbox_session
from hostedagent.server.exchange import check_response_id, refusal_of
from hostedagent.server.paging import page_asked
from hostedagent.server.responses import framed, input_items_page, replayed_frames, with_comments
from hostedagent.stores.base import LoggedEvent, StoreError

TransformEvent: TypeAlias = Callable[[Event], Iterable[Event]]
"""The events that stand for an event of a turn where it leaves: none, one or several. What is stored stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorHooks:
    """The name and the hooks of a door.

    Args:
        name: The name in telemetry.
        before_run: As in `Hooks`, but before the request is accepted, so that a refusal has a real status.
        transform_event: Returns the replacement of each event.
    """

    name: str = "responses"
    before_run: BeforeRun | None = None
    transform_event: TransformEvent | None = None


class Turn:
    """One accepted turn. Use exactly one of `response`, `events` and `sse`.

    Args:
        keep_alive: Seconds between comments on a quiet stream; 0 for none.
    """

    def __init__(
        self,
        responses: RecordedResponses,
        context: TurnContext,
        keep_alive: float,
        transform: TransformEvent | None = None,
    ) -> None:
        self._responses = responses
        self._context = context
        self._keep_alive = keep_alive
        self._transform = transform
        self._recorded: RecordedTurn | None = None
        self._is_used = False
        self._is_stopped = False

    @property
    def request(self) -> TurnRequest:
        """The request, parsed; `request.stream` says whether the caller wants a stream."""
        return self._context.request

    @property
    def body(self) -> Mapping[str, Json]:
        """The fields of the create-response body; empty if the request was passed parsed."""
        return self._context.body or {}

    @property
    def response_id(self) -> str:
        """The id of the response."""
        return self.request.response_id

    async def response(self) -> dict[str, Any]:
        """Run the turn to its end and return its response; that of a background turn is returned once it has started.

        Cancellation: stops the turn, unless it runs in the background.

        Raises:
            RequestError: It could not be stored; nothing was run.
        """
        self._use()
        if self.request.background:
            with _request_errors(self.response_id):
                return await self._responses.start_in_background(self._context)
        last: dict[str, Json] = {}
        async with aclosing(self._events()) as events:
            async for event in events:
                last = event.get("response", last)
        return last

    async def events(self) -> AsyncGenerator[Event]:
        """The events of the turn, as dictionaries. A background turn continues without a reader.

        Cancellation: closing the iterator stops the turn, unless it runs in the background.

        Raises:
            RequestError: The turn could not be stored; nothing was run.
        """
        self._use()
        if not self.request.background:
            async with aclosing(self._events()) as events:
                async for event in events:
                    self._context.flow.taken()
                    yield event
            return
        async with aclosing(replayed(await self._started(), self._transform)) as events:
            async for event in events:
                yield event

    async def sse(self) -> AsyncGenerator[bytes]:
        """The events of the turn, as the frames of `text/event-stream`. Otherwise as `events`."""
        self._use()
        if self.request.background:
            batches = await self._started()
            frames = replayed_frames(batches) if self._transform is None else framed(replayed(batches, self._transform))
        else:
            frames = framed(self._events(), self._context)
        async with aclosing(with_comments(frames, self._keep_alive)) as sent:
            async for frame in sent:
                yield frame

    def stop(self) -> None:
        """End the turn as if its client had disconnected. Its events end once that is stored."""
        self._is_stopped = True
        if self._recorded is not None:
            self._recorded.disconnect()

    def _use(self) -> None:
        if self._is_used:
            raise RuntimeError("A turn is read once: use one of response(), events() and sse(), one time.")
        self._is_used = True

    async def _started(self) -> AsyncIterator[list[LoggedEvent]]:
        """Start the turn in the background, and return its stored events."""
        with _request_errors(self.response_id):
            await self._responses.start_in_background(self._context)
            return await self._responses.engine.replay(self.request.caller, self.response_id)

    async def _events(self) -> AsyncGenerator[Event]:
        entered = enter_context(self._context)
        try:
            with _request_errors(self.response_id):
                self._recorded = await self._responses.start(self._context)
                if self._is_stopped:
                    self._recorded.disconnect()
                async with aclosing(self._recorded.events()) as events:
                    async for event in events:
                        for one in transformed(event, self._transform):
                            yield one
        finally:
            with suppress(ValueError):  # Closed by another task than the one that started it.
                leave_context(entered)


class TurnRunner:
    """Begins, reads and cancels turns.

    Concurrency: for any number of turns at a time, on one event loop.
    """

    def __init__(self, responses: RecordedResponses, door: DoorHooks | None = None) -> None:
        self._responses = responses
        self._options = responses.engine.options
        self._door = door or DoorHooks(name="embed")

    def check_accepts(self) -> None:
        """Refuse new turns during shutdown.

        Raises:
            Unavailable: The process is shutting down.
        """
        self._responses.engine.check_accepts()

    @asynccontextmanager
    async def begin(
        self,
        body: Mapping[str, Any] | bytes | str | TurnRequest,
        caller: Caller | str,
        *,
        left: Callable[[], Awaitable[object]] | None = None,
        response_id: str = "",
        session_id: str | None = None,
        client_headers: Mapping[str, str] | None = None,
        state: dict[str, Json] | None = None,
    ) -> AsyncGenerator[Turn]:
        """Accept a request; at the end of the block its turn has ended or was never started.

        Args:
            body: The body of a create-response request, as bytes or parsed; or the request itself.
            caller: The user's id, or a `Caller`. Callers can access only their own data.
            left: Returns when the caller has disconnected, which ends the wait for a slot.
            response_id: The id of the response; by default a new one.
            session_id: The platform's sandbox session; by default the one that the body or the container names.
            client_headers: The client's `x-client-*` headers.
            state: State that the client shares with the agent, as `current_turn().state`.

        Raises:
            RequestError: The request is refused, with `status`, `param` and `body()`; nothing was run or stored.
        """
        engine = self._responses.engine
        engine.check_accepts()
        fields, request = await self._parsed(body)
        said = {"client_headers": client_headers or {}, "state": state}
        request = replace(request, caller=caller_of(caller), door=self._door.name, **said)
        if self._door.before_run is not None:
            request = await prepare(self._door.before_run, request)
        with _request_errors(request.previous_response_id or ""):
            session_id = session_id or request.sandbox_session_id or sandbox_session(fields)
            # The application cancels the task of a caller that leaves.
            context = await engine.accept(request.named(response_id, session_id), left or never)
        try:
            context.body = fields or None
            yield Turn(self._responses, context, self._options.keep_alive, self._door.transform_event)
        finally:
            await engine.abandon(context)

    async def _parsed(
        self, body: Mapping[str, Any] | bytes | str | TurnRequest
    ) -> tuple[Mapping[str, Json], TurnRequest]:
        if isinstance(body, TurnRequest):
            return {}, body
        given, request = await parse_request(_bytes_of(body), self._options)
        return given.fields, request

    async def conversation_items(self, caller: Caller | str, conversation_id: str) -> tuple[Item, ...]:
        """The items of a conversation that its next turn reads, oldest first; none if there is no conversation.

        Raises:
            RequestError: The stores are not available.
        """
        services, caller = self._responses.engine.services, caller_of(caller)
        with _request_errors(""):
            head = await services.sessions.head(caller, conversation_id)
            of = TurnRequest(input=(), conversation_id=conversation_id)
            return await read_items(
                services.responses, caller, await history_ids(services.responses, caller, of, head.excluded)
            )

    async def leave_out(self, caller: Caller | str, conversation_id: str, item_ids: Sequence[str]) -> None:
        """Keep items out of the later turns of a conversation; they stay with their responses.

        Raises:
            RequestError: A turn is running in it, or the host does not keep what its agent knows of it.
        """
        check_history(self._options.history)
        services = self._responses.engine.services
        with _request_errors(""):
            await leave_out(services.sessions, services.responses, caller_of(caller), conversation_id, item_ids)

    async def retrieve(self, response_id: str, caller: Caller | str) -> dict[str, Any]:
        """A response, also while it runs.

        Raises:
            RequestError: It does not exist, or belongs to another caller.
        """
        with _request_errors(response_id, checks=True):
            return await self._responses.engine.retrieve(caller_of(caller), response_id)

    async def replay(self, response_id: str, caller: Caller | str, *, after: int = -1) -> AsyncGenerator[Event]:
        """The events of a background stream with a higher `sequence_number`: the existing ones, then the new ones.

        Raises:
            RequestError: The response does not exist, belongs to another caller, or its events are not stored. Raised
                at once, before anything is iterated.
        """
        with _request_errors(response_id, checks=True):
            batches = await self._responses.engine.replay(caller_of(caller), response_id, after=after)
        return replayed(batches, self._door.transform_event)

    async def cancel(self, response_id: str, caller: Caller | str, *, of_any_kind: bool = False) -> dict[str, Any]:
        """Cancel a background turn, and return its response once the turn has ended.

        Args:
            of_any_kind: Whether also a turn in the foreground is cancelled.

        Raises:
            RequestError: It does not exist, belongs to another caller, ran in the foreground, or has ended.
        """
        with _request_errors(response_id, checks=True):
            return await self._responses.cancel(caller_of(caller), response_id, of_any_kind=of_any_kind)

    async def delete(self, response_id: str, caller: Caller | str) -> None:
        """Delete a response and everything that belongs to it.

        Raises:
            RequestError: It does not exist, belongs to another caller, or is still running.
        """
        with _request_errors(response_id, checks=True):
            await self._responses.engine.delete(caller_of(caller), response_id)

    async def input_items(
        self,
        response_id: str,
        caller: Caller | str,
        *,
        limit: int = 20,
        order: str = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> dict[str, Any]:
        """A page of the input items of a response, the history before it included, as a list object.

        Raises:
            RequestError: The response does not exist, or belongs to another caller.
        """
        asked = {"limit": str(limit), "order": order, "after": after, "before": before}
        page = page_asked({name: value for name, value in asked.items() if value is not None})
        with _request_errors(response_id, checks=True):
            return await input_items_page(self._responses.engine, caller_of(caller), response_id, page)


def transformed(event: Event, transform: TransformEvent | None) -> Iterable[Event]:
    """The events that stand for an event where it leaves."""
    return (event,) if transform is None else transform(event)


async def replayed(
    batches: AsyncIterator[list[LoggedEvent]], transform: TransformEvent | None
) -> AsyncGenerator[Event]:
    """The stored events of a stream, as they leave."""
    async for batch in batches:
        for event in batch:
            for one in transformed(decode(event.data), transform):
                yield one


def caller_of(caller: Caller | str) -> Caller:
    """The caller with this user id.

    Raises:
        Unauthenticated: The id is empty.
    """
    if isinstance(caller, Caller):
        return caller
    if not caller:
        raise Unauthenticated("The request carries no identity.")
    keys = IsolationKeys(caller)
    return Caller(scope_of(keys), keys)


def _bytes_of(body: Mapping[str, Any] | bytes | str) -> bytes:
    match body:
        case bytes():
            return body
        case str():
            return body.encode("utf-8", "surrogatepass")
        case _:
            return encode(body)


@contextmanager
def _request_errors(response_id: str, *, checks: bool = False) -> Generator[None]:
    """Raise errors of stores as request errors.

    Args:
        checks: Whether the id comes from the caller and may be malformed.
    """
    try:
        if checks:
            check_response_id(response_id)
        yield
    except StoreError as error:
        raise refusal_of(error, response_id) from error
