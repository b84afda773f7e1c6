"""Under `replay` a run receives what is new, and the session's history holds what earlier turns left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentContext,
    AgentMiddleware,
    CompactionProvider,
    Content,
    ContextProvider,
    FunctionInvocationContext,
    HistoryProvider,
    InMemoryHistoryProvider,
    Message,
    SlidingWindowStrategy,
    tool,
)
from agent_framework.openai import OpenAIChatClient

from hostedagent import AgentHost, ConfigurationError
from hostedagent.testing import InProcessClient, OfflineChatClient
from tests.host.world import hosting

SHAPES = ["agent", "factory"]
LOCATE: dict[str, Any] = {"type": "function", "name": "locate", "parameters": {"type": "object", "properties": {}}}
WAYS = ["previous_response_id", "conversation", "transcript"]


class Watching(AgentMiddleware):
    """Records the messages that each run was given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    async def process(self, context: AgentContext, call_next: Callable[[], Awaitable[None]]) -> None:
        self.seen.append([message.text for message in context.messages])
        await call_next()


class Memory(ContextProvider):
    """Stores what each run says is new, as memory providers do."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.stored: list[list[str]] = []

    async def after_run(self, *, context: Any, **kwargs: Any) -> None:
        said = context.response.messages if context.response else ()
        self.stored.append([message.text for message in (*context.input_messages, *said)])


class Audit(HistoryProvider):
    """Keeps a log and loads nothing."""

    def __init__(self) -> None:
        super().__init__("audit", load_messages=False)
        self.saved: list[list[str]] = []

    async def get_messages(self, session_id: str | None, **kwargs: Any) -> list[Message]:
        raise AssertionError("An audit provider is not asked for messages.")

    async def save_messages(self, session_id: str | None, messages: Sequence[Message], **kwargs: Any) -> None:
        self.saved.append([message.text for message in messages])


async def respond(http: InProcessClient, given: Any, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/responses", json={"input": given, **fields})
    assert reply.status == 200, reply.text
    response = reply.json()
    assert response["status"] == "completed", reply.text
    return response


async def three_turns(http: InProcessClient, way: str) -> None:
    """Say a, b and c, in the way in which the caller continues its conversation."""
    items: list[Any] = []
    last: dict[str, Any] = {}
    for text in "abc":
        match way:
            case "transcript":
                items.append({"role": "user", "content": text})
                last = await respond(http, items)
                items += last["output"]
            case "conversation":
                last = await respond(http, text, conversation="conv_1")
            case _:
                last = await respond(http, text, **({"previous_response_id": last["id"]} if last else {}))


def served(shape: str, make: Callable[[], Any]) -> Any:
    return make() if shape == "agent" else make


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
async def test_middleware_memory_and_audit_receive_each_message_once(shape: str, way: str) -> None:
    watching, memory, audit = Watching(), Memory(), Audit()
    model = OfflineChatClient(script=["A", "B", "C"])
    agent = served(shape, lambda: Agent(model, context_providers=[memory, audit], middleware=[watching]))

    async with hosting(agent) as http:
        await three_turns(http, way)

    assert watching.seen == [["a"], ["b"], ["c"]]
    assert memory.stored == audit.saved == [["a", "A"], ["b", "B"], ["c", "C"]]
    assert model.calls[2].transcript == ["user: a", "assistant: A", "user: b", "assistant: B", "user: c"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_agents_in_memory_history_is_filled_by_the_host(way: str) -> None:
    loaded: list[int] = []

    class Peek(ContextProvider):
        async def before_run(self, *, session: Any, **kwargs: Any) -> None:
            loaded.append(len(session.state["mine"]["messages"]))

    model = OfflineChatClient(script=["A", "B", "C"])
    providers = [InMemoryHistoryProvider("mine"), Peek("peek")]

    async with hosting(Agent(model, context_providers=providers)) as http:
        await three_turns(http, way)

    assert loaded == [0, 2, 4]
    assert model.calls[2].transcript == ["user: a", "assistant: A", "user: b", "assistant: B", "user: c"]


async def test_an_agent_whose_history_is_saved_after_every_model_call_sees_its_own_calls() -> None:
    @tool
    def look(city: str) -> str:
        """Look at a city."""
        return f"sunny in {city}"

    asked = Content.from_function_call("c1", "look", arguments='{"city": "Paris"}')
    model = OfflineChatClient(script=[[asked], "A", "B"])
    agent = Agent(
        model,
        tools=[look],
        context_providers=[InMemoryHistoryProvider()],
        require_per_service_call_history_persistence=True,
    )

    async with hosting(agent) as http:
        first = await respond(http, "a")
        await respond(http, "b", previous_response_id=first["id"])

    turn = ["user: a", 'assistant: -> look({"city": "Paris"})', "tool: <- sunny in Paris"]
    assert model.calls[1].transcript == turn
    assert model.calls[2].transcript == [*turn, "assistant: A", "user: b"]


async def test_a_stored_history_is_compacted_as_the_run_before_would_have_left_it() -> None:
    model = OfflineChatClient(script=["A", "B", "C"])
    compaction = CompactionProvider(
        after_strategy=SlidingWindowStrategy(keep_last_groups=1), history_source_id="in_memory"
    )
    history = InMemoryHistoryProvider(skip_excluded=True)

    async with hosting(Agent(model, context_providers=[history, compaction])) as http:
        await three_turns(http, "previous_response_id")

    assert model.calls[2].transcript == ["assistant: B", "user: c"]


async def test_a_tool_keeps_values_in_the_session_from_turn_to_turn() -> None:
    seen: list[Any] = []

    @tool
    def count(ctx: FunctionInvocationContext) -> str:
        """Count its calls."""
        assert ctx.session is not None
        ctx.session.state["count"] = ctx.session.state.get("count", 0) + 1
        seen.append(ctx.session.state["count"])
        return "counted"

    def call(n: int) -> list[Content]:
        return [Content.from_function_call(f"c{n}", "count", arguments="{}")]

    model = OfflineChatClient(script=[call(1), "A", call(2), "B", call(3), "C"])

    async with hosting(Agent(model, tools=[count])) as http:
        await three_turns(http, "previous_response_id")

    assert seen == [1, 2, 3]


async def test_a_result_of_the_callers_tool_is_new_and_its_call_is_history() -> None:
    watching = Watching()
    call = Content.from_function_call("c1", "locate", arguments="{}")
    model = OfflineChatClient(script=[[call], "A"])

    async with hosting(Agent(model, middleware=[watching])) as http:
        first = await respond(http, "where?", tools=[LOCATE])
        result = {"type": "function_call_output", "call_id": "c1", "output": "Paris"}
        await respond(http, [result], previous_response_id=first["id"], tools=[LOCATE])

    assert watching.seen == [["where?"], [""]]
    assert model.calls[1].transcript == ["user: where?", "assistant: -> locate({})", "tool: <- Paris"]


async def test_a_placeholder_for_a_call_that_was_never_answered_is_not_new() -> None:
    watching = Watching()
    call = Content.from_function_call("c1", "locate", arguments="{}")
    model = OfflineChatClient(script=[[call], "A"])

    async with hosting(Agent(model, middleware=[watching])) as http:
        first = await respond(http, "where?", tools=[LOCATE])
        await respond(http, "never mind", previous_response_id=first["id"])

    assert watching.seen == [["where?"], ["never mind"]]
    assert model.calls[1].transcript[-2:] == ["tool: <- [This call was never answered.]", "user: never mind"]


async def test_an_agent_without_providers_or_middleware_runs_on_the_transcript_without_a_session() -> None:
    given: list[Any] = []

    class Own(Agent[Any]):
        def run(self, messages: Any = None, **kwargs: Any) -> Any:
            given.append((len(messages), kwargs.get("session")))
            return super().run(messages, **kwargs)

    async with hosting(Own(OfflineChatClient(script=["A", "B", "C"]))) as http:
        await three_turns(http, "previous_response_id")

    assert given == [(1, None), (3, None), (5, None)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Agent(
                OfflineChatClient(), context_providers=[InMemoryHistoryProvider(), InMemoryHistoryProvider("b")]
            ),
            "load_messages=False",
        ),
        (
            lambda: Agent(
                OpenAIChatClient(model="m", api_key="k", base_url="http://127.0.0.1:9/v1"),
                default_options={"conversation_id": "conv_1"},
            ),
            "conversation_id",
        ),
    ],
)
def test_what_would_mix_conversations_is_refused_when_the_host_is_built(make: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AgentHost(make())
