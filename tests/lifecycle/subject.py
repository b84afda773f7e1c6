"""What the tests of endings serve: an agent and a workflow around a model that stops where a test wants it to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent_framework import Agent, AgentResponseUpdate, Message, WorkflowBuilder

from hostedagent import Hooks, TurnRequest, current_turn
from hostedagent.testing import OfflineChatClient
from tests.patience import PATIENCE

CALLS = 200


class Stage(Protocol):
    """Where the model stands still, and who is told of it."""

    def asked(self, word: str, response_id: str) -> None:
        """The model was asked, in the turn of a response."""
        ...

    def said(self, word: str) -> None:
        """The beginning of the answer has come through to the host."""
        ...

    async def hold(self, word: str) -> None:
        """Wait in the middle of an answer until the test lets it go on."""
        ...

    def stopped(self, word: str) -> None:
        """The model call was stopped from outside."""
        ...


@dataclass(slots=True)
class Gates:
    """The stage of a test in the same process."""

    _asked: dict[str, asyncio.Future[str]] = field(default_factory=dict[str, asyncio.Future[str]])
    _halves: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    _held: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    _opened: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    _stopped: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    def asked(self, word: str, response_id: str) -> None:
        self._asking(word).set_result(response_id)

    def said(self, word: str) -> None:
        self._arrive(word, "said")

    def held(self, word: str) -> None:
        """The turn is in the middle of its answer, and has dealt with what was said before."""
        self._held.setdefault(word, asyncio.Event()).set()

    def _arrive(self, word: str, half: str) -> None:
        halves = self._halves.setdefault(word, set())
        halves.add(half)
        if halves == {"said", "held"}:
            self.held(word)

    async def hold(self, word: str) -> None:
        self._arrive(word, "held")
        await self._opened.setdefault(word, asyncio.Event()).wait()

    def stopped(self, word: str) -> None:
        self._stopped.setdefault(word, asyncio.Event()).set()

    def open(self, word: str) -> None:
        self._opened.setdefault(word, asyncio.Event()).set()

    async def response(self, word: str) -> str:
        """The id of the response in whose turn the model was asked."""
        async with asyncio.timeout(PATIENCE):
            return await self._asking(word)

    async def reached(self, word: str) -> None:
        """Wait until the model stands in the middle of its answer."""
        async with asyncio.timeout(PATIENCE):
            await self._held.setdefault(word, asyncio.Event()).wait()

    async def has_stopped(self, word: str) -> None:
        """Wait until the model call was stopped."""
        async with asyncio.timeout(PATIENCE):
            await self._stopped.setdefault(word, asyncio.Event()).wait()

    def _asking(self, word: str) -> asyncio.Future[str]:
        if word not in self._asked:
            self._asked[word] = asyncio.get_running_loop().create_future()
        return self._asked[word]


@dataclass(slots=True)
class Subject:
    """A factory for hosts: the request's metadata says whether it wants the agent or the workflow."""

    stage: Stage
    model: OfflineChatClient = field(init=False)

    def __post_init__(self) -> None:
        self.model = OfflineChatClient(script=[self._answer] * CALLS)

    @property
    def hooks(self) -> Hooks:
        """What a host of the subject needs for `Stage.said`."""

        def told(update: AgentResponseUpdate) -> AgentResponseUpdate:
            if update.text == "re ":
                item = current_turn().input[0]
                self.stage.said(item["content"] if isinstance(item["content"], str) else item["content"][0]["text"])
            return update

        return Hooks(transform_update=told)

    def __call__(self, request: TurnRequest) -> Any:
        first = Agent(self.model, name="first")
        if request.metadata.get("serves") != "workflow":
            return first
        last = Agent(OfflineChatClient(script=["done"]), name="last")
        builder = WorkflowBuilder(start_executor=first, name="flow", output_from=[first], intermediate_output_from=[])
        return builder.add_edge(first, last)

    async def _answer(self, messages: Sequence[Message], _: Mapping[str, Any]) -> Any:
        word = messages[-1].text
        if word not in ("hello", "next"):
            self.stage.asked(word, current_turn().response_id)
        match word.split()[0]:
            case "fails":
                return ["re ", RuntimeError("secret")]
            case "held":
                return ["re ", self._holding(word), word]
            case _:
                return f"re {word}"

    def _holding(self, word: str) -> Callable[[], Awaitable[None]]:
        async def hold() -> None:
            try:
                await self.stage.hold(word)
            except asyncio.CancelledError:
                self.stage.stopped(word)
                raise

        return hold
