"""A run whose model's service works in the background, for agents with `default_options={"background": True}`.

The service goes on when the connection breaks. Its continuation token is stored before anything that came with it is
passed on, and the stream is picked up with it where it broke: the service tells everything again, and what was passed
on before is left out, by the service's own numbers of its events.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from hostedagent.identity import Scope
from hostedagent.run.pump import close_stream
from hostedagent.stores.tokens import ContinuationTokens
from hostedagent.telemetry import log_failure
from hostedagent.types import Json

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, Content

logger = logging.getLogger(__name__)

Token: TypeAlias = Mapping[str, Json]
Attempt: TypeAlias = Callable[
    [Token | None], "AsyncIterable[AgentResponseUpdate] | Awaitable[AsyncIterable[AgentResponseUpdate]]"
]
"""Starts the agent; with a token, where the service stands."""

TRIES: Final = 4
"""How often in a row a stream may break before anything new has come."""

PAUSE_SECONDS: Final = 0.5
"""Before the second try in a row; doubled for each further one."""


def works_in_background(agent: object) -> bool:
    """Whether the agent's maker asked the model's service to work in the background."""
    options = getattr(agent, "default_options", None)
    return isinstance(options, Mapping) and cast("Mapping[str, object]", options).get("background") is True


class BackgroundRun:
    """The run of one turn.

    Args:
        attempt: Starts the agent.
        tokens: Where the token is kept.
        scope: Whose it is.
        response_id: The response that the work is for.
        is_recovery: Whether the turn began in a process that ended; its token is used then.
    """

    def __init__(
        self,
        attempt: Attempt,
        tokens: ContinuationTokens,
        scope: Scope,
        response_id: str,
        *,
        is_recovery: bool = False,
    ) -> None:
        self._attempt = attempt
        self._tokens = tokens
        self._scope = scope
        self._response_id = response_id
        self._is_recovery = is_recovery
        self._token: Token | None = None
        self._is_stored = False
        self._passed = _Passed()

    async def start(self) -> AsyncGenerator[AgentResponseUpdate]:
        """The updates, each once, whatever breaks on the way.

        Raises:
            Exception: The run's own, when the service does not go on, or not any further.
        """
        if self._is_recovery:
            self._token = await self._tokens.load(self._scope, self._response_id)
            self._is_stored = self._token is not None
        tries = 0
        while True:
            before, error = self._passed.count, None
            try:
                async for update in self._updates():
                    yield update
            except Exception as broke:  # noqa: BLE001 - of any kind: what counts is that the service still works
                error = broke
            if error is None and not self._passed.is_pending:
                return
            tries = 1 if self._passed.count > before else tries + 1
            if not self._passed.can_be_continued or tries >= TRIES:
                raise error or ConnectionError("The model's service ended its stream before its work.")
            if error is not None:
                log_failure(logger, f"The stream of {self._response_id} broke and is picked up again", error)
            await asyncio.sleep(PAUSE_SECONDS * (2 ** (tries - 1) - 1))

    async def _updates(self) -> AsyncGenerator[AgentResponseUpdate]:
        """What one attempt says that was not said before."""
        stream = self._attempt(self._token)
        if not isinstance(stream, AsyncIterable):
            stream = await stream
        try:
            async for update in stream:
                if (token := update.continuation_token) is not None and token != self._token:
                    self._token, self._is_stored = cast("Token", dict(token)), True
                    await self._tokens.save(self._scope, self._response_id, self._token)
                    self._passed.begin()
                if (new := self._passed.only_new(update)) is not None:
                    if new.role == "tool":
                        await self._forget()  # The calls of what the token finds have run.
                    yield new
        finally:
            await close_stream(stream)

    async def _forget(self) -> None:
        if self._is_stored:
            self._is_stored = False
            await self._tokens.delete(self._scope, self._response_id)

    async def save(self) -> None:
        """Keep nothing: what later turns need is in the session."""

    async def prune(self) -> None:
        """Drop the token once the turn is saved. A failure costs space only."""
        try:
            await self._forget()
        except Exception as error:  # noqa: BLE001 - the turn is done
            log_failure(logger, "Dropping a continuation token failed", error)


class _Passed:
    """What was passed on of one response of the service, so that it is passed on once."""

    def __init__(self) -> None:
        self.count = 0
        self.is_pending = False
        self._position = -1
        self._is_numbered = True
        self._call_ids: dict[int, list[str | None]] = {}
        self._aliases: dict[str | None, str | None] = {}

    def begin(self) -> None:
        """The service begins a response; it numbers the events of each from the start."""
        self.is_pending, self._position, self._is_numbered = True, -1, True
        self._call_ids.clear()

    @property
    def can_be_continued(self) -> bool:
        """Whether the service goes on, and what it says again can be told from what is new."""
        return self.is_pending and self._is_numbered

    def only_new(self, update: AgentResponseUpdate) -> AgentResponseUpdate | None:
        """The update, if it was not passed on before."""
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
        """With the ids of calls that they were passed on with. The run keeps its own."""
        renamed = copy.copy(update)
        renamed.contents = [self._named(content) for content in update.contents]
        return renamed

    def _named(self, content: Content) -> Content:
        if content.type not in ("function_call", "function_result") or content.id not in self._aliases:
            return content
        named = copy.copy(content)
        named.id = self._aliases[content.id]
        return named


def _position(update: AgentResponseUpdate) -> int | None:
    """The service's number of the event that the update was made of, where it gives one."""
    raw = getattr(update.raw_representation, "raw_representation", None)
    number = getattr(raw, "sequence_number", None)
    return number if isinstance(number, int) else None
