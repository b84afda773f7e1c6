"""The registry of the responses in progress in this process, from the claim of the id to the last write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from hostedagent.engine.cancellation import StopSignals
from hostedagent.engine.context import TurnContext
from hostedagent.engine.partial_output import PartialOutput
from hostedagent.engine.sent_events import Sent
from hostedagent.identity import Caller
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.journals import Journal
from hostedagent.stores.leases import Lease

if TYPE_CHECKING:
    from hostedagent.engine.recovery import Recovery

BEGIN_SECONDS: Final = 10.0
"""Seconds that a request for a response waits until its turn is resumed."""


class Resuming(Struct):
    """A turn of an earlier process that is about to be resumed.

    Args:
        begun: Set when the turn runs again, or will not be resumed.
        journal: Its journal; `None` if that is lost.
    """

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    journal: Journal | None = None
    sent: Sent = field(default_factory=Sent)


class ActiveTurn(Struct):
    """One response in progress.

    Args:
        caller: The owner, who made the first write.
        is_claimed: Whether the platform chose its id, which is reserved for it.
        recovery: The progress of the turn, if it outlives its process.
        refuse: Ends the turn when the first write of its response fails.
        created: The response as it was first stored; `None` before that and after its last write.
        stored_before: The items that an earlier process stored; `None` for a response of this process.
        is_resumed: Whether an earlier process stored the response, and perhaps its outcome.
        resuming: The state of a turn that is about to be resumed.
        ended: Set when the entry is dropped.
        committed: The final status that was stored before the caller received it.
        may_have_completed: Whether this process tried to store it as completed, and does not know that this failed.
    """

    caller: Caller = field(default_factory=Caller)
    is_claimed: bool = False
    context: TurnContext | None = None
    output: PartialOutput | None = None
    stop: StopSignals | None = None
    recovery: Recovery | None = None
    refuse: Callable[[], Awaitable[None]] | None = None
    created: Mapping[str, Json] | None = None
    item_ids: tuple[str, ...] = ()
    stored_before: tuple[str, ...] | None = None
    is_resumed: bool = False
    resuming: Resuming | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    committed: str | None = None
    may_have_completed: bool = False

    @property
    def is_over(self) -> bool:
        """Whether no part of the response is in progress."""
        is_run = self.context is not None or self.created is not None
        return not (is_run or self.is_claimed or self.stored_before is not None or self.resuming is not None)


class ActiveTurns:
    """The registry of the responses in progress."""

    def __init__(self) -> None:
        self._turns: dict[str, ActiveTurn] = {}

    def get(self, response_id: str | None) -> ActiveTurn | None:
        """The entry of a response that is in progress here."""
        return self._turns.get(response_id) if response_id is not None else None

    def open(self, response_id: str) -> ActiveTurn:
        """The entry of a response, created if necessary."""
        active = self._turns.get(response_id)
        if active is None:
            active = self._turns[response_id] = ActiveTurn()
        return active

    def leave(self, response_id: str) -> None:
        """The turn of a response has ended."""
        if (active := self._turns.get(response_id)) is not None:
            active.context = active.stop = active.output = active.refuse = active.recovery = None
            self.close(response_id)

    def close(self, response_id: str) -> None:
        """Drop the entry of a response once nothing of it is in progress."""
        turn = self._turns.get(response_id)
        if turn is not None and turn.is_over:
            del self._turns[response_id]
            turn.ended.set()

    def resumed(self, response_id: str) -> None:
        """The turn runs again or will not be resumed: nothing waits for it any more."""
        turn = self._turns.get(response_id)
        if turn is not None and turn.resuming is not None:
            turn.resuming.begun.set()
            turn.resuming = None
            self.close(response_id)

    async def until_resumed(self, response_id: str) -> None:
        """Wait while the turn is being resumed, when the SDK does not show it yet."""
        turn = self._turns.get(response_id)
        if turn is not None and turn.resuming is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await turn.resuming.begun.wait()

    def running(self) -> list[ActiveTurn]:
        """The entries of the turns that run now."""
        return [turn for turn in self._turns.values() if turn.context is not None]

    def holding(self, lease: Lease) -> ActiveTurn | None:
        """The turn that holds a lease, if it runs in this process."""
        held = (turn for turn in self.running() if turn.context and turn.context.continuation.lease is lease)
        return next(held, None)

    def output_of(self, response_id: str) -> list[Item]:
        """The output of a response so far."""
        turn = self._turns.get(response_id)
        return turn.output.output() if turn is not None and turn.output is not None else []

    def input_ids(self, response_id: str) -> tuple[str, ...]:
        """The ids of the input items of a response between its first and its last write."""
        turn = self._turns.get(response_id)
        return turn.item_ids if turn is not None and turn.created is not None else ()

    def __len__(self) -> int:
        return len(self._turns)
