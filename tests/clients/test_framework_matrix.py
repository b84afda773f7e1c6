"""Every cell of the matrix: an agent behind a host beside the same agent without one."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import agent_framework
import pytest
from agent_framework import (
    Agent,
    AgentContext,
    AgentLoopMiddleware,
    AgentMiddleware,
    AgentModeProvider,
    AgentSession,
    BackgroundAgentsProvider,
    ChatContext,
    ChatMiddleware,
    CompactionProvider,
    ContextProvider,
    FileAccessProvider,
    FileHistoryProvider,
    FileMemoryProvider,
    FunctionInvocationContext,
    FunctionMiddleware,
    HistoryProvider,
    InlineSkill,
    InMemoryAgentFileStore,
    InMemoryHistoryProvider,
    Message,
    MessageInjectionMiddleware,
    SkillFrontmatter,
    SkillsProvider,
    SlidingWindowStrategy,
    TodoProvider,
    ToolApprovalMiddleware,
    agent_middleware,
    chat_middleware,
    create_always_approve_tool_response,
    create_harness_agent,
    enqueue_messages,
    function_middleware,
    tool,
)
from framework_matrix import HISTORIES, NOT_TRIED, POINTS, SAME, History
from tests.stores import opened
from upstream import Text, ToolCall, Upstream, responses_client

from hostedagent import AgentHost, ConfigurationError, HostOptions
from hostedagent.testing import ScriptedAgent, serve

APPROVE, ALWAYS = "(approve)", "(always approve)"


@dataclass
class Seen:
    """What an extension saw, in order."""

    lines: list[str] = field(default_factory=list[str])
    kept: dict[str | None, list[Message]] = field(default_factory=dict[str | None, list[Message]])
    files: InMemoryAgentFileStore = field(default_factory=InMemoryAgentFileStore)
    background: BackgroundAgentsProvider | None = None

    def add(self, kind: str, messages: Sequence[Message]) -> None:
        self.lines.append(f"{kind}: {[f'{row.role}: {row.text}' for row in messages]}")


class Memory(ContextProvider):
    def __init__(self, seen: Seen) -> None:
        super().__init__("memory")
        self._seen = seen

    async def after_run(self, *, context: Any, **kwargs: Any) -> None:
        self._seen.add("stored", [*context.input_messages, *(context.response.messages if context.response else ())])


class Counter(ContextProvider):
    async def before_run(self, *, context: Any, state: dict[str, Any], **kwargs: Any) -> None:
        state["turns"] = state.get("turns", 0) + 1
        context.extend_messages(self, [Message("user", [f"[turn {state['turns']}]"])])


class Diary(HistoryProvider):
    def __init__(self, seen: Seen, *, load_messages: bool = True) -> None:
        super().__init__("diary", load_messages=load_messages)
        self._seen = seen

    async def get_messages(self, session_id: str | None, **kwargs: Any) -> list[Message]:
        return list(self._seen.kept.get(session_id, ()))

    async def save_messages(self, session_id: str | None, messages: Sequence[Message], **kwargs: Any) -> None:
        self._seen.add("saved", messages)
        self._seen.kept.setdefault(session_id, []).extend(messages)


@tool
def look(city: str) -> str:
    """Look at a city."""
    return f"sunny in {city}"


@tool(approval_mode="always_require")
def pay(to: str) -> str:
    """Pay somebody."""
    return f"paid {to}"


@tool
def remember(ctx: FunctionInvocationContext) -> str:
    """Count in the session."""
    assert ctx.session is not None
    ctx.session.state["count"] = ctx.session.state.get("count", 0) + 1
    return f"counted {ctx.session.state['count']}"


@tool
def inject(ctx: FunctionInvocationContext) -> str:
    """Queue a message for the next call of the model."""
    assert ctx.session is not None
    enqueue_messages(ctx.session, "(injected)")
    return "queued"


LOOK, PAY = ToolCall("look", {"city": "Paris"}), ToolCall("pay", {"to": "Ada"})
TALK = (Text("A"), Text("B"), Text("C"))
TOOLS = (LOOK, Text("A"), Text("B"), Text("C"))
THREE = ("a", "b", "c")


@dataclass(frozen=True)
class Case:
    """One extension point: its agent, what the model says, and what the user does."""

    make: Callable[[Any, Seen, list[Any]], Any]
    script: tuple[Any, ...] = TALK
    turns: tuple[str, ...] = THREE


def _watching_agent(seen: Seen) -> Any:
    @agent_middleware
    async def watch(context: AgentContext, call_next: Callable[[], Awaitable[None]]) -> None:
        seen.add("run", context.messages)
        await call_next()

    return watch


def _watching_chat(seen: Seen) -> Any:
    @chat_middleware
    async def watch(context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        seen.add("call", context.messages)
        await call_next()

    return watch


def _watching_functions(seen: Seen) -> Any:
    @function_middleware
    async def watch(context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]) -> None:
        seen.lines.append(f"{context.function.name}({context.arguments})")
        await call_next()

    return watch


def _with_inner(client: Any, seen: Seen, providers: list[Any]) -> Any:
    inner = Agent(client, name="inner", instructions="You are inside.", default_options=cast("Any", {"store": False}))
    return Agent(client, tools=[inner.as_tool(name="ask_inner")], context_providers=providers)


def _once_more(iteration: int, **_: Any) -> bool:
    return iteration < 2


def _with_background(client: Any, seen: Seen, providers: list[Any]) -> Any:
    seen.background = seen.background or BackgroundAgentsProvider([ScriptedAgent(["thought"], name="inner")])
    return Agent(client, context_providers=[*providers, seen.background])


def _harness(client: Any, seen: Seen, providers: list[Any]) -> Any:
    return create_harness_agent(
        client,
        name="harness",
        tools=[pay],
        file_memory_store=InMemoryAgentFileStore(),
        disable_web_search=True,
        max_context_window_tokens=100_000,
        max_output_tokens=1_000,
        middleware=[_watching_agent(seen)],
    )


def _skill() -> SkillsProvider:
    front = SkillFrontmatter(name="greeting", description="How to greet.")
    return SkillsProvider([InlineSkill(frontmatter=front, instructions="Say hello.")])


NOTE = ToolCall("file_memory_write", {"file_name": "ada-notes.md", "content": "SECRET-ADA"})
START = ToolCall("background_agents_start_task", {"agent_name": "inner", "input": "think", "description": "Think."})
INNER = (ToolCall("ask_inner", {"task": "think"}), Text("thought"), Text("A"), Text("B"), Text("C"))
CASES: dict[str, Case] = {
    "agent middleware": Case(lambda c, s, p: Agent(c, context_providers=p, middleware=[_watching_agent(s)])),
    "chat middleware": Case(
        lambda c, s, p: Agent(c, context_providers=p, middleware=[_watching_chat(s)], tools=[look]), TOOLS
    ),
    "function middleware": Case(
        lambda c, s, p: Agent(c, context_providers=p, middleware=[_watching_functions(s)], tools=[look]), TOOLS
    ),
    "context provider": Case(lambda c, s, p: Agent(c, context_providers=[*p, Counter("counter")])),
    "memory provider": Case(lambda c, s, p: Agent(c, context_providers=[*p, Memory(s)], tools=[look]), TOOLS),
    "in-memory history": Case(lambda c, s, p: Agent(c, context_providers=[InMemoryHistoryProvider("mine")])),
    "own history": Case(lambda c, s, p: Agent(c, context_providers=[Diary(s)])),
    "file history": Case(lambda c, s, p: Agent(c, context_providers=[FileHistoryProvider("history")])),
    "audit provider": Case(lambda c, s, p: Agent(c, context_providers=[*p, Diary(s, load_messages=False)])),
    "compaction provider": Case(
        lambda c, s, p: Agent(
            c, context_providers=[*p, CompactionProvider(before_strategy=SlidingWindowStrategy(keep_last_groups=1))]
        )
    ),
    "compaction strategy": Case(
        lambda c, s, p: Agent(c, context_providers=p, compaction_strategy=SlidingWindowStrategy(keep_last_groups=1))
    ),
    "skills": Case(
        lambda c, s, p: Agent(c, context_providers=[*p, _skill()]),
        (ToolCall("load_skill", {"skill_name": "greeting"}), Text("A"), Text("B")),
        ("a", APPROVE, "b"),
    ),
    "agent as a tool": Case(_with_inner, INNER),
    "session in a tool": Case(
        lambda c, s, p: Agent(c, context_providers=p, tools=[remember]),
        (ToolCall("remember", {}), Text("A"), ToolCall("remember", {}), Text("B")),
        ("a", "b"),
    ),
    "message injection": Case(
        lambda c, s, p: Agent(c, context_providers=p, tools=[inject], middleware=[MessageInjectionMiddleware()]),
        (ToolCall("inject", {}), *TALK),
    ),
    "approval": Case(
        lambda c, s, p: Agent(c, context_providers=p, tools=[pay]), (PAY, Text("A"), Text("B")), ("a", APPROVE, "b")
    ),
    "standing approval": Case(
        lambda c, s, p: Agent(c, context_providers=p, tools=[pay], middleware=[ToolApprovalMiddleware()]),
        (PAY, Text("A"), PAY, Text("B")),
        ("a", ALWAYS, "b"),
    ),
    "agent loop": Case(
        lambda c, s, p: Agent(
            c,
            context_providers=p,
            middleware=[AgentLoopMiddleware(_once_more), _watching_agent(s)],
        ),
        (Text("A"), Text("AA"), Text("B"), Text("BB")),
        ("a", "b"),
    ),
    "to-do list": Case(
        lambda c, s, p: Agent(c, context_providers=[*p, TodoProvider()]),
        (ToolCall("todos_add", {"todos": [{"title": "buy milk"}]}), Text("A"), ToolCall("todos_get_all"), Text("B")),
        ("a", "b"),
    ),
    "modes": Case(
        lambda c, s, p: Agent(c, context_providers=[*p, AgentModeProvider()]),
        (ToolCall("mode_set", {"mode": "execute"}), Text("A"), ToolCall("mode_get"), Text("B")),
        ("a", "b"),
    ),
    "file memory": Case(
        lambda c, s, p: Agent(c, context_providers=[*p, FileMemoryProvider(s.files)]),
        (NOTE, Text("A"), ToolCall("file_memory_ls", {}), Text("B")),
        ("a", "b"),
    ),
    "file access": Case(
        lambda c, s, p: Agent(c, context_providers=[*p, FileAccessProvider(s.files)]),
        (ToolCall("file_access_write", {"file_name": "a.txt", "content": "hi"}), Text("A"), Text("B")),
        ("a", APPROVE, "b"),
    ),
    "background agents": Case(
        _with_background,
        (START, Text("A"), ToolCall("background_agents_get_task_results", {"task_id": 1}), Text("B")),
        ("a", "b"),
    ),
    "harness": Case(_harness, (PAY, Text("A"), PAY, Text("B")), ("a", ALWAYS, "b")),
}


def test_the_matrix_and_the_cases_name_the_same() -> None:
    assert list(CASES) == list(POINTS)
    assert all(list(row) == list(HISTORIES) for _, row in POINTS.values())


def test_every_extension_point_of_agent_framework_is_tried_or_has_a_reason() -> None:
    bases = (ContextProvider, AgentMiddleware, ChatMiddleware, FunctionMiddleware)
    found = {
        name
        for name in agent_framework.__all__
        if inspect.isclass(kind := getattr(agent_framework, name, None)) and issubclass(kind, bases)
    }
    told = " ".join(text for text, _ in POINTS.values())

    assert {name for name in found - NOT_TRIED.keys() if name not in told} == set()
    assert NOT_TRIED.keys() - found == set()


def _providers(history: History) -> list[Any]:
    return [InMemoryHistoryProvider()] if history == "session" else []


async def _without_host(case: Case, history: History) -> tuple[list[list[str]], list[str]]:
    seen = Seen()
    async with Upstream() as upstream:
        upstream.script(*case.script)
        agent = case.make(responses_client(upstream), seen, _providers(history))
        session, options = AgentSession(), {} if history == "service" else {"store": False}
        asked: list[Any] = []
        for turn in case.turns:
            given = [Message("user", [turn])]
            if turn in (APPROVE, ALWAYS):
                answer = create_always_approve_tool_response if turn == ALWAYS else _approved
                given = [Message("user", [answer(row) for row in asked])]
            stream = agent.run(given, stream=True, session=session, options=options)
            asked = [row async for update in stream for row in update.contents if row.user_input_request]
        return upstream.transcripts, seen.lines


def _approved(request: Any) -> Any:
    return request.to_function_approval_response(approved=True)


async def _with_host(case: Case, history: History, *, is_factory: bool) -> tuple[list[list[str]], list[str]]:
    seen = Seen()
    async with Upstream() as upstream, opened() as (stores, identified):
        upstream.script(*case.script)
        client = responses_client(upstream)

        def make() -> Any:
            return case.make(client, seen, _providers(history))

        host = AgentHost(make if is_factory else make(), options=HostOptions(history=history), stores=stores)
        async with serve(identified(host.app)) as http:
            last: dict[str, Any] = {}
            for turn in case.turns:
                chain = {"previous_response_id": last["id"]} if last else {}
                reply = await http.post("/responses", json={"input": _input(turn, last), **chain})
                last = reply.json()
                if is_factory and last.get("error"):
                    raise ConfigurationError(str(last["error"]))
                assert last["status"] == "completed", reply.text
        return upstream.transcripts, seen.lines


def _input(turn: str, last: dict[str, Any]) -> Any:
    if turn not in (APPROVE, ALWAYS):
        return turn
    asked = [item["id"] for item in last["output"] if item["type"] == "mcp_approval_request"]
    more = {"always_approve": "tool"} if turn == ALWAYS else {}
    return [{"type": "mcp_approval_response", "approval_request_id": row, "approve": True, **more} for row in asked]


CELLS = [
    pytest.param(name, history, is_factory, id=f"{name}, {history}, {'factory' if is_factory else 'agent'}")
    for name, history, is_factory in itertools.product(POINTS, HISTORIES, (False, True))
]


@pytest.mark.parametrize(("name", "history", "is_factory"), CELLS)
async def test_an_extension_behaves_as_without_a_host_or_is_refused(
    name: str, history: History, is_factory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case, expected = CASES[name], POINTS[name][1][history]

    if expected != SAME:
        with pytest.raises(ConfigurationError):
            await _with_host(case, history, is_factory=is_factory)
        return

    assert await _with_host(case, history, is_factory=is_factory) == await _without_host(case, history)


async def test_two_users_of_a_harness_agent_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listing = ToolCall("file_memory_ls", {})
    async with Upstream() as upstream, opened() as (stores, identified):
        upstream.script(NOTE, Text("kept"), listing, Text("mine"), listing, Text("none"))
        agent = create_harness_agent(
            responses_client(upstream), file_memory_store=InMemoryAgentFileStore(), disable_web_search=True
        )
        async with serve(identified(AgentHost(agent, stores=stores).app)) as http:
            for user, text in (("ada", "keep SECRET-ADA"), ("ada", "list"), ("grace", "list")):
                body = {"input": text, "conversation": "conv_1"}
                reply = await http.post("/responses", json=body, headers={"x-agent-user-id": user})
                assert reply.json()["status"] == "completed", reply.text

    ada, grace = str(upstream.transcripts[3]), str(upstream.transcripts[5])
    assert "ada-notes.md" in ada.rpartition("list")[2]
    assert "ada-notes.md" not in grace and "SECRET-ADA" not in grace
