"""Runs whose model service works in the background, for agents with `default_options={"background": True}`.

Such a service keeps working when the connection breaks. Its continuation token is stored before the updates that came
with it are passed on, and a broken stream is resumed with that token. The service then repeats its events from the
start; those already passed on are dropped by their sequence numbers. A process that recovers the turn does the same,
and also drops the items that were finished before.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from msgspec import Struct, field

from hostedagent.agents.deduplication import Told
from hostedagent.agents.model_calls import ModelCalls
from hostedagent.agents.pump import close_stream
from hostedagent.errors import foreign_attribute
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.values import fields_of
from hostedagent.stores.tokens import ContinuationTokens, Place, Token

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, AgentSession, Content

logger = logging.getLogger(__name__)

Attempt: TypeAlias = Callable[[Token | None], Awaitable["AsyncIterable[AgentResponseUpdate]"]]
"""Starts the agent; with a token, resumes the work of the service."""

TRIES: Final = 4
"""Consecutive attempts without a new update before the run fails."""

PAUSE_SECONDS: Final = 0.5
"""Seconds before the second consecutive attempt; doubled for each further one."""


def works_in_background(agent: object) -> bool:
    """Whether the agent is configured to let its model service work in the background."""
    return fields_of(getattr(agent, "default_options", None)).get("background") is True


class _Passed(Struct):
    """Tracks the updates of one service response that were passed on, so that none is passed on twice."""

    count: int = 0
    is_pending: bool = False
    _position: int = -1
    _is_numbered: bool = True
    _call_ids: dict[int, list[str | None]] = {}
    _aliases: dict[str | None, str | None] = {}

    def begin(self) -> None:
        """A new response begins, whose events are numbered from the start."""
        self.is_pending, self._position, self._is_numbered = True, -1, True
        self._call_ids.clear()

    @property
    def can_be_continued(self) -> bool:
        """Whether the service can be resumed and repeated updates can be recognised."""
        return self.is_pending and self._is_numbered

    def only_new(self, update: AgentResponseUpdate) -> AgentResponseUpdate | None:
        """The update, or `None` when it was passed on before."""
        position = _position(update)
        calls = [content.id for content in update.contents if content.type == "function_call"]
        if position is not None and position <= self._position:
            # Agent Framework gives each call an id of its own, anew in each run.
            self._aliases.update(zip(calls, self._call_ids.get(position, ()), strict=False))
            return None
        self.count += 1
        if position is not None:
            self._position = position
            if calls:
                self._call_ids[position] = calls
        elif update.contents and self.is_pending:
            self._is_numbered = False
        if update.finish_reason is not None:
            self.is_pending = False
        return self._renamed(update) if self._aliases else update

    def _renamed(self, update: AgentResponseUpdate) -> AgentResponseUpdate:
        """Return the contents with the call ids that were sent first; the run keeps its own ids."""
        renamed = copy.copy(update)
        renamed.contents = [self._named(content) for content in update.contents]
        return renamed

    def _named(self, content: Content) -> Content:
        if content.type not in ("function_call", "function_result") or content.id not in self._aliases:
            return content
        named = copy.copy(content)
        named.id = self._aliases[content.id]
        return named


class BackgroundRun(Struct):
    """The run of one turn.

    Args:
        tokens: Stores the token; `None` for a turn that stores nothing.
        session: Holds the service's conversation id.
        token: The token that an earlier process of this turn stored.
        told: The items that the earlier process sent.
    """

    attempt: Attempt
    tokens: ContinuationTokens | None
    caller: Caller
    response_id: str
    session: AgentSession | None = None
    token: Token | None = None
    told: Told = field(default_factory=Told)
    calls: ModelCalls = field(default_factory=ModelCalls)
    _passed: _Passed = field(default_factory=_Passed)

    def __post_init__(self) -> None:
        if self.token is not None:
            self._passed.begin()

    async def start(self) -> AsyncGenerator[AgentResponseUpdate]:
        """Yield each update exactly once, resuming the stream when it breaks.

        Raises:
            Exception: The error of the run, when the service has stopped or resuming it made no progress.
        """
        tries = 0
        while True:
            before, error = self._passed.count, None
            try:
                async for update in self._updates():
                    yield update
            except Exception as broke:  # noqa: BLE001 - any error may be resumed from: only the state of the service counts
                error = broke
            if error is None and not self._passed.is_pending:
                return
            tries = 1 if self._passed.count > before else tries + 1
            if not self._passed.can_be_continued or tries >= TRIES:
                raise error or ConnectionError("The model's service ended its stream before its work.")
            if error is not None:
                log_failure(logger, f"The stream of {self.response_id} broke and is picked up again", error)
            await asyncio.sleep(PAUSE_SECONDS * (2 ** (tries - 1) - 1))

    async def _updates(self) -> AsyncGenerator[AgentResponseUpdate]:
        """Yield the updates of one attempt that are new."""
        self.calls.restart()
        stream = await self.attempt(self.token)
        try:
            async for update in stream:
                self.calls.see(update)
                if (token := update.continuation_token) is not None and token != self.token:
                    self.token = cast("Token", dict(token))
                    await self._keep(Place(self.token))
                    self._passed.begin()
                if (new := self._passed.only_new(update)) is None or (new := self.told.only_new(new)) is None:
                    continue
                if self.token is not None and new.role == "tool":
                    await self._keep(self._answered(self.token, new))
                yield new
        finally:
            await close_stream(stream)

    async def _keep(self, place: Place) -> None:
        if self.tokens is not None:
            await self.tokens.save(self.caller, self.response_id, place)

    def _answered(self, token: Token, update: AgentResponseUpdate) -> Place:
        """Store the token again once the results of the tool calls are stored."""
        calls = [content.call_id for content in update.contents if content.type == "function_result"]
        service_id = self.session.service_session_id if self.session is not None else None
        return Place(token, tuple(call_id for call_id in calls if call_id), service_id)

    async def save(self) -> None:
        """Store nothing: the session holds what later turns need."""

    async def prune(self) -> None:
        """Delete the token once the turn is saved. A failure only leaves a stale record."""
        try:
            if self.tokens is not None and self.token is not None:
                await self.tokens.delete(self.caller, self.response_id)
        except Exception as error:  # noqa: BLE001 - the turn is done
            log_failure(logger, "Dropping a continuation token failed", error)


def _position(update: AgentResponseUpdate) -> int | None:
    """The sequence number of the service's event behind the update, if it has one."""
    raw = foreign_attribute(update.raw_representation, "raw_representation")
    number = foreign_attribute(raw, "sequence_number")
    return number if type(number) is int else None
