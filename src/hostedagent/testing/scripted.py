"""`ScriptedAgent`: an agent that yields exactly what a test tells it to, and knows what it was asked.

It is the protocol minimum of Agent Framework (`SupportsAgentRun`), not a `BaseAgent`: what works with it works with
any agent.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

from agent_framework import AgentResponse, AgentResponseUpdate, AgentSession, Content, Message, ResponseStream

from .gate import Pause, wait_at

Step: TypeAlias = AgentResponseUpdate | Content | str | BaseException | Pause
AgentInputs: TypeAlias = str | Content | Message | Sequence[str | Content | Message]
Turn: TypeAlias = Iterable[Step]


@dataclass(frozen=True, slots=True)
class AgentCall:
    """One call of `run`: copies of the messages as they were, the session itself, and the other keywords."""

    messages: Sequence[Message]
    session: AgentSession | None
    options: dict[str, Any]
    stream: bool

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self.messages[-1].text if self.messages else ""


class ScriptedAgent:
    """Plays one turn of the script per run.

    Args:
        turns: the steps of each run. A `str` or a `Content` becomes an update of its own, an `AgentResponseUpdate` is
            yielded as it is, an exception is raised, a `Gate`, `asyncio.Event`, awaitable or async function is awaited.
        name: the agent's name.

    Concurrency: runs may overlap; each plays its own turn, in the order of the calls.

    Example:
        ```python
        agent = ScriptedAgent(["Hel", "lo"], [Content.from_function_call("c1", "f", arguments="{}")])
        ...
        agent.assert_done()
        ```
    """

    def __init__(self, *turns: Turn, name: str | None = "scripted") -> None:
        self.id = f"{name or 'scripted'}-1"
        self.name = name
        self.description: str | None = "Plays a script."
        self.calls: list[AgentCall] = []
        self._turns = [list(turn) for turn in turns]
        self._played = [0] * len(self._turns)

    @overload
    def run(
        self,
        messages: AgentInputs | None = None,
        *,
        stream: Literal[False] = ...,
        session: AgentSession | None = None,
        **kwargs: Any,
    ) -> Awaitable[AgentResponse[Any]]: ...
    @overload
    def run(
        self,
        messages: AgentInputs | None = None,
        *,
        stream: Literal[True],
        session: AgentSession | None = None,
        **kwargs: Any,
    ) -> ResponseStream[AgentResponseUpdate, AgentResponse[Any]]: ...
    def run(
        self,
        messages: AgentInputs | None = None,
        *,
        stream: bool = False,
        session: AgentSession | None = None,
        **kwargs: Any,
    ) -> Awaitable[AgentResponse[Any]] | ResponseStream[AgentResponseUpdate, AgentResponse[Any]]:
        """Play the next turn.

        Raises:
            AssertionError: the script has no turn left.
        """
        number = len(self.calls)
        self.calls.append(AgentCall(_copied(messages), session, dict(kwargs), stream))
        if number >= len(self._turns):
            raise AssertionError(f"run number {number + 1} came, the script has {len(self._turns)} turns")
        updates = ResponseStream[AgentResponseUpdate, AgentResponse[Any]](
            self._play(number), finalizer=AgentResponse.from_updates
        )
        return updates if stream else updates.get_final_response()

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        """A new session."""
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        """A session of a service."""
        return AgentSession(session_id=session_id, service_session_id=service_session_id)

    def assert_done(self) -> None:
        """Check that the script was played to its end.

        Raises:
            AssertionError: a turn was not run, or a run did not take all the steps of its turn.
        """
        for number, steps in enumerate(self._turns):
            played = self._played[number]
            if played < len(steps):
                what = "was never run" if number >= len(self.calls) else f"stopped before step {played + 1}"
                raise AssertionError(f"turn {number + 1} of {len(self._turns)} {what}: {steps[played]!r} is left over")

    async def _play(self, number: int) -> AsyncIterator[AgentResponseUpdate]:
        for step in self._turns[number]:
            # Counted before it is yielded: the reader may stop at this very update.
            self._played[number] += 1
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, (AgentResponseUpdate, Content, str)):
                await asyncio.sleep(0)  # As a real agent's would, so that a stream goes out update by update.
                yield _update(step)
            else:
                await wait_at(step)


def _update(step: AgentResponseUpdate | Content | str) -> AgentResponseUpdate:
    if isinstance(step, AgentResponseUpdate):
        return step
    content = Content.from_text(step) if isinstance(step, str) else step
    role = "tool" if content.type == "function_result" else "assistant"
    return AgentResponseUpdate(contents=[content], role=role)


def _copied(messages: AgentInputs | None) -> list[Message]:
    if messages is None:
        return []
    if isinstance(messages, (str, Content, Message)):
        messages = [messages]
    return [copy.deepcopy(one) if isinstance(one, Message) else Message("user", [one]) for one in messages]
