"""`AgUi`: one endpoint for front ends. A thread is a conversation, and a run is a turn."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import cast

from ag_ui.core import RunAgentInput

from hostedagent.doors.ag_ui.events import RunEvents
from hostedagent.doors.ag_ui.messages import RUN, create_body, items_from, shown_by
from hostedagent.doors.door import Door, Entry, validated
from hostedagent.doors.shared_state import SharedState
from hostedagent.doors.threads import names_of, open_thread
from hostedagent.engine.hooks import BeforeRun
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import encode
from hostedagent.protocol.types import Event
from hostedagent.protocol.values import is_object
from hostedagent.server.exchange import Exchange
from hostedagent.server.turn import TransformEvent


class AgUi(Door):
    """The AG-UI protocol: `POST /ag-ui`, which answers with the events of a run.

    A run ends with its connection, as a streamed response does, unless it is resumable: the front end then sends the
    run again, with the same `threadId` and `runId`, and gets it from its beginning.

    Args:
        path: The path of the endpoint.
        resumable: Whether runs continue without their connection.
        before_run: As for every door.
        transform_event: As for every door.
    """

    name = "ag_ui"
    input_name = "messages"

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

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Answer with the events of a run."""
        run = validated(RunAgentInput, await entry.fields(exchange))
        if not self.resumable:
            await self._run(entry, exchange, run)
            return
        response_id = new_item_id("caresp", run.thread_id)
        key = f"ag-ui:{hashlib.sha256(encode([run.thread_id, run.run_id])).hexdigest()}"
        async with entry.once(exchange.caller, key, response_id) as earlier:
            if earlier is None:
                await self._run(entry, exchange, run, response_id)
            else:
                await self._follow(entry, exchange, run, earlier)

    async def _run(self, entry: Entry, exchange: Exchange, run: RunAgentInput, response_id: str = "") -> None:
        shown, read = [shown_by(message) for message in run.messages], partial(items_from, run.messages)
        begins = len(shown) <= 1 and not run.resume
        new = read(0) if begins else await open_thread(entry, exchange.caller, run.thread_id, shown, read, mark=RUN)
        body = create_body(run, new) | {"background": self.resumable}
        state = dict(run.state) if is_object(run.state) else None
        async with entry.turn(exchange, body, response_id=response_id, state=state) as turn:
            events = RunEvents(run, SharedState(turn.request.state))
            await entry.stream(exchange, _frames(events, turn.events()), goes_on=self.resumable)

    async def _follow(self, entry: Entry, exchange: Exchange, run: RunAgentInput, response_id: str) -> None:
        """Answer with a run that has already started; the front end first removes the part that it has."""
        made = await entry.turns.retrieve(response_id, exchange.caller)
        names = names_of(made["output"])
        events = RunEvents(run, messages=[message for message in run.messages if not shown_by(message) & names])
        replayed = await entry.turns.replay(response_id, exchange.caller)
        await entry.stream(exchange, _frames(events, replayed), goes_on=True)


async def _frames(run: RunEvents, events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
    async with aclosing(cast("AsyncGenerator[Event]", events)):
        async for event in events:
            for frame in run.frames(event):
                yield frame
