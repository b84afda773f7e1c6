"""`AgUi`: one endpoint for front ends. A thread is a conversation, and a run is a turn."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final, cast

from ag_ui.core import BaseEvent, MessagesSnapshotEvent, RunAgentInput
from ag_ui.encoder import EventEncoder

from hostedagent.doors.ag_ui.events import Delta, RunEvents
from hostedagent.doors.ag_ui.messages import create_body, is_shown, known_ids, parse_run
from hostedagent.doors.door import Door, Entry
from hostedagent.engine.hooks import BeforeRun
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import encode
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Event, Json
from hostedagent.protocol.values import is_object
from hostedagent.server.exchange import Exchange
from hostedagent.server.idempotency import earlier_response
from hostedagent.server.turns import TransformEvent

_ENCODER: Final = EventEncoder()


class AgUi(Door):
    """The AG-UI protocol: `POST /ag-ui`, which answers with the events of a run.

    A run ends when its connection does, as a streamed response does. A resumable one goes on: the front end sends the
    run again, with the same `threadId` and `runId`, and gets it from its beginning.

    Args:
        path: The path of the endpoint.
        resumable: Whether runs go on without their connection.
        before_run: As for every door.
        transform_event: As for every door.
    """

    name = "ag_ui"

    def __init__(
        self,
        path: str = "/ag-ui",
        *,
        resumable: bool = False,
        before_run: BeforeRun | None = None,
        transform_event: TransformEvent | None = None,
    ) -> None:
        super().__init__(path, before_run=before_run, transform_event=transform_event)
        self.resumable = resumable

    def parse(self, fields: Mapping[str, Json], exchange: Exchange) -> Mapping[str, Any]:
        """What a run asks, in a thread that the host does not have."""
        return create_body(parse_run(fields), ())

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer with the events of a run."""
        run = parse_run(await entry.fields(exchange))
        response_id = new_item_id("caresp", run.thread_id) if self.resumable else ""
        if self.resumable and (earlier := await _earlier(entry, exchange, run, response_id)) is not None:
            await self._follow(entry, exchange, run, earlier)
            return
        goes_on = len(run.messages) > 1 or run.resume
        kept = await entry.turns.conversation_items(exchange.caller, run.thread_id) if goes_on else ()
        body = create_body(run, kept) | ({"background": True} if self.resumable else {})
        state = dict(run.state) if is_object(run.state) else None
        try:
            async with entry.turn(exchange, body, response_id=response_id, state=state) as turn:
                events = _run_events(run, turn.request.state)
                await entry.stream(exchange, _frames(events, turn.events()), goes_on=self.resumable)
        except BaseException:
            if self.resumable and not await entry.responses.engine.store.owns(exchange.caller, response_id):
                await entry.responses.engine.services.sessions.keys.release(exchange.caller, _key(run))
            raise

    async def _follow(self, entry: Entry, exchange: Exchange, run: RunAgentInput, response_id: str) -> None:
        """Answer with a run that was begun before: what the front end has of it is taken back first."""
        made = await entry.turns.retrieve(response_id, exchange.caller)
        shown = known_ids(made["output"])
        kept = [message for message in run.messages if not is_shown(message, shown)]
        replayed = await entry.turns.replay(response_id, exchange.caller)
        snapshot = _frame(MessagesSnapshotEvent(messages=kept))
        await entry.stream(exchange, _frames(_run_events(run, None), replayed, second=snapshot), goes_on=True)


def _run_events(run: RunAgentInput, state: dict[str, Json] | None) -> RunEvents:
    return RunEvents(run.thread_id, run.run_id, frozenset(tool.name for tool in run.tools or ()), state)


def _key(run: RunAgentInput) -> str:
    return f"ag-ui:{hashlib.sha256(encode([run.thread_id, run.run_id])).hexdigest()}"


async def _earlier(entry: Entry, exchange: Exchange, run: RunAgentInput, response_id: str) -> str | None:
    """The response of a run that was begun before."""
    engine, key = entry.responses.engine, _key(run)
    exists = partial(engine.store.owns, exchange.caller)
    return await earlier_response(engine.services.sessions.keys, exchange.caller, key, key, response_id, exists)


async def _frames(run: RunEvents, events: AsyncIterator[Event], *, second: bytes = b"") -> AsyncGenerator[bytes]:
    """The frames of a run.

    Args:
        run: Makes the events.
        events: The events of the turn.
        second: The frame behind the first one.
    """
    deltas: dict[tuple[type[BaseEvent], str], tuple[bytes, bytes]] = {}
    async with aclosing(cast("AsyncGenerator[Event]", events)):
        async for event in events:
            for one in run.take(event):
                yield _delta_frame(one, deltas) if isinstance(one, Delta) else _frame(one)
                if second:
                    yield second
                    second = b""


def _frame(event: BaseEvent) -> bytes:
    return _ENCODER.encode(event).encode()


def _delta_frame(delta: Delta, known: dict[tuple[type[BaseEvent], str], tuple[bytes, bytes]]) -> bytes:
    """The frame of a piece, between what the encoder writes around it: a run has thousands, which differ only there."""
    around = known.get((delta.kind, delta.id))
    if around is None:
        empty = delta.kind.model_validate({delta.key: delta.id, "delta": ""})
        before, _, after = _frame(empty).rpartition(b'""')
        around = known[delta.kind, delta.id] = before, after
    return b"".join((around[0], event_data(delta.text), around[1]))
