"""Forwards steering inputs to the replica that runs the response, and returns its answer over the shared event log.

A signal contains only the id of a separate log, in which the first event is the input, the second the answer of the
replica, and an optional third the reason why no response takes over the input. Then the log ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from hostedagent.engine.recorded import RecordedResponses
from hostedagent.errors import Conflict, RequestError
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.types import Event, Json
from hostedagent.server.frames import parse_steer
from hostedagent.server.steering import SteerError, failed
from hostedagent.stores.base import EventLog, Liveness, LoggedEvent, Signal, StoreError, StoreNotFound
from hostedagent.stores.recent import Recent

_LOST: Final[SteerError] = "successor_creation_failed"

AGAIN_SECONDS: Final = 0.5
"""After how long the signal is sent again: the turn may have changed hands meanwhile."""

ANSWER_SECONDS: Final = 10.0

LOOK_SECONDS: Final = 3.0
"""Seconds between checks whether the replica that has accepted an input lives."""

_REMEMBERED: Final = 1_000

logger = logging.getLogger(__name__)

Take: TypeAlias = Callable[[Caller, Mapping[str, Json]], Awaitable[tuple[Event, AsyncGenerator[Event]]]]
"""Accepts an input here; returns the event that says so, and later why no response takes it over."""


class ForwardedSteers:
    """Sends inputs to other replicas, and receives theirs."""

    def __init__(self, responses: RecordedResponses, take: Take) -> None:
        self._responses = responses
        self._take = take
        self._taken: Recent[str, None] = Recent(_REMEMBERED)
        self._tasks: set[asyncio.Task[None]] = set()
        responses.engine.elsewhere.on_steer = self._signalled

    @property
    def _log(self) -> EventLog:
        return self._responses.engine.log

    async def send(
        self, caller: Caller, response_id: str, fields: Mapping[str, Json]
    ) -> tuple[Event, AsyncGenerator[Event]] | None:
        """Send an input to the replica that runs a response, and return its answer and later events.

        Returns:
            `None` if no replica runs the response, or none answers.

        Raises:
            RequestError: The input is refused.
            StoreError: A store is not available.
        """
        if not await self._runs(caller, response_id):
            return None
        letter = new_item_id("steer", response_id)
        await self._log.append(caller, letter, [LoggedEvent(0, encode(fields))])
        told = self._told(caller, letter)
        answering = asyncio.ensure_future(anext(told, None))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    while not answering.done() and await self._runs(caller, response_id):
                        signal = Signal("steer", caller.scope.key(), response_id, letter)
                        await self._responses.engine.elsewhere.signals.publish(signal)
                        await asyncio.wait({answering}, timeout=AGAIN_SECONDS)
        finally:
            answering.cancel()
            await asyncio.wait({answering})
        answer = answering.result() if not answering.cancelled() else None
        if answer is not None and "refused" not in answer:
            process, event = answer.get("process", ""), {key: answer[key] for key in answer if key != "process"}
            steer = parse_steer(fields, self._responses.engine.options)
            return event, self._later(told, process, failed(steer, _LOST, 1, steer_id=event["steer"]["id"]))
        await told.aclose()
        if answer is None:
            return None
        refused = answer["refused"]
        error = Conflict(refused["message"], param=refused["param"])
        error.code, error.status, error.retry_after = refused["code"], refused["status"], refused["retry_after"]
        raise error

    async def _told(self, caller: Caller, letter: str) -> AsyncGenerator[Event]:
        """The events with which a replica answers."""
        try:
            async for batch in self._log.subscribe(caller, letter, after=0):
                for row in batch:
                    yield decode(row.data)
        finally:
            await self._log.delete(caller, letter)

    async def _later(self, told: AsyncGenerator[Event], process: str, lost: Event) -> AsyncGenerator[Event]:
        """Why no response takes over an accepted input; one of the reasons is that its replica has died."""
        coming = asyncio.ensure_future(anext(told, None))
        try:
            while True:
                await asyncio.wait({coming}, timeout=LOOK_SECONDS)
                if not coming.done():
                    with suppress(StoreError):
                        if await self._liveness.is_dead(process):
                            yield lost
                            return
                    continue
                if (event := coming.result()) is None:
                    return
                yield event
                coming = asyncio.ensure_future(anext(told, None))
        finally:
            coming.cancel()
            await asyncio.wait({coming})
            await told.aclose()

    @property
    def _liveness(self) -> Liveness:
        return self._responses.engine.services.sessions.settings.liveness

    async def _runs(self, caller: Caller, response_id: str) -> bool:
        return await self._responses.engine.store.status(caller, response_id) == "in_progress"

    def _signalled(self, caller: Caller, letter: str) -> None:
        """Receive an input of another replica for a response that runs here; it is repeated until it is answered."""
        if letter not in self._taken:
            self._taken[letter] = None
            task = asyncio.create_task(self._answer(caller, letter), name="hostedagent-steer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, caller: Caller, letter: str) -> None:
        try:
            (sent, *_) = await self._log.read(caller, letter)
            try:
                accepted, later = await self._take(caller, decode(sent.data))
            except RequestError as error:
                await self._tell(caller, letter, 1, {"refused": _dumped(error)})
            else:
                await self._tell(caller, letter, 1, {**accepted, "process": await self._liveness.name()})
                async for failure in later:
                    await self._tell(caller, letter, 2, failure)
            await self._log.finish(caller, letter)
        except StoreNotFound:  # The sender has stopped waiting, or its events are not shared.
            return
        except Exception as error:  # noqa: BLE001 - the sender asks again, or gives up
            log_failure(logger, "An input of another replica could not be answered", error)

    async def _tell(self, caller: Caller, letter: str, number: int, event: Event) -> None:
        await self._log.read(caller, letter)  # Not if the sender has gone: the log would be created again.
        await self._log.append(caller, letter, [LoggedEvent(number, encode(event))])


def _dumped(error: RequestError) -> dict[str, Json]:
    named = {"code": error.code, "status": error.status, "retry_after": error.retry_after}
    return {**named, "message": error.message, "param": error.param}
