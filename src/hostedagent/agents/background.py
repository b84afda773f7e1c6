"""A run whose model's service works in the background, for agents with `default_options={"background": True}`.

The service goes on when the connection breaks. Its continuation token is stored before anything that came with it is
passed on, and the stream is picked up with it where it broke: the service tells everything again, and what was passed
on before is left out, by the service's own numbers of its events. Another process that takes the turn up does the same,
and leaves out the items that were finished before.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

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
"""Starts the agent; with a token, where the service stands."""

TRIES: Final = 4
"""How often in a row a stream may break before anything new has come."""

PAUSE_SECONDS: Final = 0.5
"""Before the second try in a row; doubled for each further one."""


def works_in_background(agent: object) -> bool:
    """Whether the agent's maker asked the model's service to work in the background."""
    return fields_of(getattr(agent, "default_options", None)).get("background") is True


class BackgroundRun:
    """The run of one turn.

    Args:
        attempt: Starts the agent.
        tokens: Where the token is kept; `None` for a turn that leaves nothing.
        caller: Whose it is.
        response_id: The response that the work is for.
        session: Has the service's id of the conversation.
        token: Finds what the service did for the turn in a process that ended.
        told: What that process had already sent.
        calls: Watches the model calls of all attempts.
    """

    def __init__(
        self,
        attempt: Attempt,
        tokens: ContinuationTokens | None,
        caller: Caller,
        response_id: str,
        *,
        session: AgentSession | None = None,
        token: Token | None = None,
        told: Told | None = None,
        calls: ModelCalls | None = None,
    ) -> None:
        self._attempt = attempt
        self._tokens = tokens
        self._caller = caller
        self._response_id = response_id
        self._session = session
        self._token = token
        self._told = told or Told()
        self._calls = calls or ModelCalls()
        self._passed = _Passed()
        if token is not None:
            self._passed.begin()

    async def start(self) -> AsyncGenerator[AgentResponseUpdate]:
        """The updates, each once, whatever breaks on the way.

        Raises:
            Exception: The run's own, when the service does not go on, or not any further.
        """
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
        self._calls.restart()
        stream = await self._attempt(self._token)
        try:
            async for update in stream:
                self._calls.see(update)
                if (token := update.continuation_token) is not None and token != self._token:
                    self._token = cast("Token", dict(token))
                    await self._keep(Place(self._token))
                    self._passed.begin()
                if (new := self._passed.only_new(update)) is None or (new := self._told.only_new(new)) is None:
                    continue
                if self._token is not None and new.role == "tool":
                    await self._keep(self._answered(self._token, new))
                yield new
        finally:
            await close_stream(stream)

    async def _keep(self, place: Place) -> None:
        if self._tokens is not None:
            await self._tokens.save(self._caller, self._response_id, place)

    def _answered(self, token: Token, update: AgentResponseUpdate) -> Place:
        """Where the turn stands once the results of the calls are written down."""
        calls = [content.call_id for content in update.contents if content.type == "function_result"]
        service_id = self._session.service_session_id if self._session is not None else None
        return Place(token, tuple(call_id for call_id in calls if call_id), service_id)

    async def save(self) -> None:
        """Keep nothing: what later turns need is in the session."""

    async def prune(self) -> None:
        """Drop the token once the turn is saved. A failure costs space only."""
        try:
            if self._tokens is not None and self._token is not None:
                await self._tokens.delete(self._caller, self._response_id)
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
    raw = foreign_attribute(update.raw_representation, "raw_representation")
    number = foreign_attribute(raw, "sequence_number")
    return number if type(number) is int else None
