"""One turn without routes: its response, its events as dictionaries, or the frames of its stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeAlias

from hostedagent.engine.context import TurnContext
from hostedagent.engine.flow_control import flow_of
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.recorded_turn import RecordedTurn
from hostedagent.identity import enter_context, leave_context
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Json
from hostedagent.server.exchange import check_response_id, refusal_of
from hostedagent.server.responses import framed, replayed_frames, with_comments
from hostedagent.stores.base import LoggedEvent, StoreError

TransformEvent: TypeAlias = Callable[[Event], Iterable[Event]]
"""The events that stand for an event of a turn where it leaves: none, one or several. What is stored stays as it is."""


class Turn:
    """One accepted turn. Use exactly one of `response`, `events` and `sse`, inside the block of `begin`.

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
        self._reading: AsyncGenerator[object] | None = None
        self._is_used = False
        self._is_begun = False
        self._is_stopped = False
        self._is_over = False

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
        self._begin()
        if self.request.background:
            with request_errors(self.response_id):
                return await self._responses.start_in_background(self._context)
        last: dict[str, Json] = {}
        async with aclosing(self._events()) as events:
            async for event in events:
                last = event.get("response", last)
        return last

    def events(self) -> AsyncGenerator[Event]:
        """The events of the turn, as dictionaries, whether or not the caller asked for a stream.

        A background turn continues without a reader.

        Cancellation: closing the iterator stops the turn, unless it runs in the background.

        Raises:
            RequestError: The turn could not be stored; nothing was run.
        """
        self._use()
        self._reading = reading = self._read_events()
        return reading

    def sse(self) -> AsyncGenerator[bytes]:
        """The events of the turn, as the frames of `text/event-stream`. Otherwise as `events`."""
        self._use()
        self._reading = reading = self._read_frames()
        return reading

    async def _read_events(self) -> AsyncGenerator[Event]:
        self._begin(streams=True)
        if not self.request.background:
            async with aclosing(self._events()) as events:
                async for event in events:
                    self._context.flow.taken()
                    yield event
            return
        async with aclosing(replayed(await self._started(), self._transform)) as events:
            async for event in events:
                yield event

    async def _read_frames(self) -> AsyncGenerator[bytes]:
        self._begin(streams=True)
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

    async def leave(self) -> None:
        """End the turn, unless it runs in the background: the block of `begin` is left."""
        self._is_over = True
        if not self._is_begun or self.request.background:
            return
        if self._reading is not None:
            with suppress(RuntimeError):  # Another task reads it, and sees how it ends.
                await self._reading.aclose()
        self.stop()

    def _use(self) -> None:
        if self._is_used:
            raise RuntimeError("A turn is read once: use one of response(), events() and sse(), one time.")
        self._is_used = True

    def _begin(self, *, streams: bool = False) -> None:
        if self._is_over:
            raise RuntimeError("The turn is over: read it inside the block of begin().")
        self._is_begun = True
        if streams and not self.request.stream:
            self._context.request = replace(self.request, stream=True)
            self._context.flow = flow_of(self.request)

    async def _started(self) -> AsyncIterator[list[LoggedEvent]]:
        """Start the turn in the background, and return its stored events."""
        with request_errors(self.response_id):
            await self._responses.start_in_background(self._context)
            return await self._responses.engine.replay(self.request.caller, self.response_id)

    async def _events(self) -> AsyncGenerator[Event]:
        entered = enter_context(self._context)
        try:
            with request_errors(self.response_id):
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


@contextmanager
def request_errors(response_id: str, *, checks: bool = False) -> Generator[None]:
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
