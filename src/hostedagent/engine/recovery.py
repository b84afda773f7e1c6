"""Resumes background turns after a crash: progress is journaled, and the next process continues from the last entry.

A plain agent continues after its last tool result, a workflow at its last checkpoint, and a run that has ended is only
saved. Output that was sent after that point stays in the response, but is closed and marked so that it is in no prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.agents.pump import Pump, Work
from hostedagent.agents.usage import UsageCount
from hostedagent.conversation.history.base import KeepCheckpoint
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import Sent, SentEvents
from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import ENDED
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import Event, Json, MutableItem
from hostedagent.protocol.values import rows_of
from hostedagent.stores.base import StoreConflict, StoreUnavailable
from hostedagent.stores.checkpoints import Checkpoint, OpenRequest, WorkflowState
from hostedagent.stores.journals import Ended, Journal, Journals
from hostedagent.stores.sessions import Sessions, Snapshot

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate

logger = logging.getLogger(__name__)


@runtime_checkable
class CheckpointedRun(Protocol):
    """A run that can be resumed within its turn."""

    def keep_each(self, keep: KeepCheckpoint) -> None:
        """Store every checkpoint before the run continues. Called before the run is consumed."""
        ...


class Recovery(Struct):
    """The recorded progress of one turn.

    Args:
        journal: The journal of the turn; `None` if it is lost.
        response: The response from the earlier process; `None` for a new turn.
        unsent: The events of items that an earlier process stored with the end of its run, and did not send.
        tell: Waits until clients can read all events so far: the store must not be ahead of them.
        is_lost: Whether another replica has the turn, so that nothing of it may be stored here.
        may_be_left: Whether a turn that cannot go on is resumed while this process runs, so that it need not fail.
    """

    journals: Journals
    store: ResponseStore
    sessions: Sessions
    events: SentEvents
    caller: Caller
    response_id: str
    journal: Journal | None
    response: MutableItem | None = None
    sent: Sent = field(default_factory=Sent)
    unsent: list[Event] = field(default_factory=list[Event])
    tell: Callable[[], Awaitable[None]] | None = None
    is_lost: bool = False
    may_be_left: bool = False
    _checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])

    @property
    def is_over(self) -> bool:
        """Whether the turn had already ended when its process died."""
        return self.journal is not None and self.journal.is_over

    @property
    def is_saved(self) -> bool:
        """Whether another try has saved the turn with all that it leaves, which this one does not know."""
        return self.journal is not None and self.journal.ended is None and self.store.has_transactions

    @property
    def ended(self) -> Ended | None:
        """The outcome of the run in the earlier process, if it ended there."""
        if self.journal is None or self.response is None:
            return None
        if self.journal.ended is not None:
            return self.journal.ended
        status = self.response.get("status")
        if status not in ENDED and not self.is_over:
            return None
        return Ended({**self.response, "status": status if status in ENDED else "cancelled"}, Snapshot())

    @property
    def usage(self) -> Json:
        """The usage of the turn in the earlier process."""
        return self.response.get("usage") if self.response is not None else None

    def outcome(self) -> Outcome:
        """The outcome of the run in the earlier process."""
        assert self.ended is not None
        response = self.ended.response
        match response["status"]:
            case "completed":
                return Completed()
            case "incomplete":
                return Incomplete(response["incomplete_details"]["reason"])
            case "cancelled":
                return Cancelled("client")
            case _:
                return Failed("server_error", response["error"]["message"])

    def resume(self, response: MutableItem, sent: Sent) -> None:
        """Continue from the response and the events of an earlier process."""
        self.response, self.sent = response, sent
        if self.ended is None or sent.has_ended or not (sent.name or sent.last >= 0):
            return
        items = enumerate(rows_of(self.ended.response["output"]))
        for index, item in ((index, item) for index, item in items if index not in sent.items):
            for edge in ("added", "done"):
                self.unsent.append({"type": f"response.output_item.{edge}", "output_index": index, "item": item})

    def repeats(self, outcome: Outcome) -> Ended | None:
        """The earlier outcome of the run, if the turn ends with it."""
        ended = self.ended
        return ended if ended is not None and outcome == self.outcome() else None

    def follow(
        self,
        pump: Pump[AgentResponseUpdate],
        run: object,
        response: Mapping[str, Json],
        usage: UsageCount,
    ) -> None:
        """Journal the progress of a run whenever it reaches a point from which it can be resumed."""

        async def keep(data: bytes, requests: Mapping[str, OpenRequest]) -> None:
            await pump.settled(partial(self.checkpointed, data, requests, response, usage))

        def then(update: AgentResponseUpdate) -> Work | None:
            has_results = any(content.type == "function_result" for content in update.contents)
            return partial(self.reached, response, usage) if has_results else None

        if isinstance(run, CheckpointedRun):
            run.keep_each(keep)
        else:
            pump.then = then

    async def is_elsewhere(self) -> bool:
        """Whether another replica has the turn, checked before anything is stored."""
        if self.journal is not None and not self.is_lost:
            self.is_lost = not await self.journals.holds(self.caller, self.response_id)
        return self.is_lost

    async def announce(self, event: Event) -> bool:
        """Announce the continuation of the turn to clients of its stream; `False` if none saw its start."""
        if self.sent.name:
            await self.events.announce(self.sent, event)
        return bool(self.sent.name)

    async def reached(self, response: Mapping[str, Json], usage: UsageCount) -> None:
        """Record tool results, so that the tools are not run again."""
        try:
            await self._told()
            if not await self.is_elsewhere():
                await self.store.checkpoint(_so_far(response, usage))
        except Exception as error:  # noqa: BLE001 - the turn itself does not need it
            log_failure(logger, f"Writing down how far {self.response_id} has come failed", error)

    async def checkpointed(
        self, data: bytes, requests: Mapping[str, OpenRequest], response: Mapping[str, Json], usage: UsageCount
    ) -> None:
        """Store a checkpoint of a workflow."""
        if self.journal is None:
            return
        try:
            await self._told()
            if await self.is_elsewhere():
                return
            so_far = _so_far(response, usage)
            await self.store.checkpoint(so_far)
            # The previous one is kept until this one is complete, because a large one is written in parts.
            before = self.journal.checkpoint
            is_first = before is not None and before.checkpoint.response_id.endswith(":0")
            key = f"{self.response_id}:{1 if is_first else 0}"
            saved = await self.sessions.checkpoints.save(self.caller, key, data)
            said = tuple(item["id"] for item in so_far["output"])
            self.journal = replace(self.journal, checkpoint=WorkflowState(saved, requests), said=said)
            await self.journals.write(self.caller, self.response_id, self.journal)
            self._checkpoints.append(saved)
        except Exception as error:  # noqa: BLE001 - the turn itself does not need it
            log_failure(logger, f"Writing down how far {self.response_id} has come failed", error)

    async def run_ended(self, response: Mapping[str, Json], snapshot: Snapshot) -> None:
        """Record the end of the run; any process would save the same result from here.

        Raises:
            Conflict: Another replica has the turn.
            StoreUnavailable: It could not be recorded, and the turn may be left.
        """
        if self.journal is None:
            return
        await self._told()
        self.journal = replace(self.journal, ended=Ended(_plain(response), snapshot))
        try:
            await self.journals.write_end(self.caller, self.response_id, self.journal)
        except StoreConflict:
            self.is_lost = True
            raise Conflict("Another process has taken this turn.") from None
        except Exception as error:
            if self.may_be_left and isinstance(error, StoreUnavailable):
                raise
            # The turn itself does not need it.
            log_failure(logger, f"Writing down how {self.response_id} ended failed", error)

    async def _told(self) -> None:
        if self.tell is not None:
            await self.tell()

    async def over(self) -> None:
        """Record the end of the turn, before the SDK has recorded it."""
        if self.journal is None:
            return
        left = self.journal.checkpoint
        checkpoints = self._checkpoints or ([left.checkpoint] if left is not None else [])
        try:
            if not self.is_over:
                self.journal = replace(self.journal, is_over=True, checkpoint=None, said=(), ended=None)
                await self.journals.write(self.caller, self.response_id, self.journal)
            if self.response is not None:
                await self.sessions.tokens.delete(self.caller, self.response_id)
            for checkpoint in checkpoints[-2:]:
                await self.sessions.checkpoints.delete(self.caller, checkpoint)
        except Exception as error:  # noqa: BLE001 - when it is resumed, it ends in the same way
            log_failure(logger, f"Writing down that {self.response_id} is over failed", error)
        self.journals.forget_later(self.caller, self.response_id)


def open_response(request: TurnRequest, recovery: Recovery | None) -> ResponseBuilder:
    """A builder of the response that contains the output of the earlier process."""
    if recovery is not None and recovery.response is not None:
        return ResponseBuilder.resumed(recovery.response)
    return ResponseBuilder(request.response_id, request.echo())


def _so_far(response: Mapping[str, Json], usage: UsageCount) -> dict[str, Json]:
    output = [item for item in rows_of(response["output"]) if item is not None]
    return {**response, "output": output, "usage": usage.wire()}


def _plain(response: Mapping[str, Json]) -> dict[str, Json]:
    """A response without its null fields."""
    return {name: value for name, value in response.items() if value is not None}


class Questions:
    """The events of one turn from its first approval request on, held back until the end of the run is saved.

    A run that is resumed would ask under other ids. Agent Framework ends a run that asks, so nothing else waits. A
    workflow saves its requests in its checkpoints.

    Args:
        recovery: The progress of the turn; without it, a turn is not resumed and nothing is held back.
    """

    def __init__(self, recovery: Recovery | None) -> None:
        self._recovery = recovery
        self._events: list[Event] | None = None

    @property
    def unsent(self) -> Sequence[Event]:
        """The events that waited in an earlier process, which has saved the end of the run."""
        return self._recovery.unsent if self._recovery is not None else ()

    @property
    def are_held(self) -> bool:
        """Whether events wait."""
        return self._events is not None

    def hold_back(self) -> None:
        """Hold back the following events: the agent asks for approval."""
        if self._recovery is not None and self._recovery.journal is not None:
            self._events = self._events or []

    def hold(self, event: Event) -> bool:
        """Keep an event that must wait; `False` if it need not."""
        if self._events is None:
            return False
        self._events.append(event)
        return True

    def release(self) -> list[Event]:
        """The events that waited, to be sent now; later ones need not wait."""
        events, self._events = self._events or [], None
        return events
