"""Agent Framework's extension points behind a host: the one table that the tests check and that the document prints.

`docs/generate.py` reads this file by its path, so it imports nothing of the tests.
"""

from collections.abc import Mapping
from typing import Final, Literal

History = Literal["replay", "service", "session"]

HISTORIES: Final[tuple[History, ...]] = ("replay", "service", "session")
SAME: Final = "same"
"""The model calls and the data that the extension sees are the same as without a host."""

_ONE_OWNER: Final = "refused: the provider would keep the conversation too; choose `replay` or `session`"

_LOADS_ELSEWHERE: Final[Mapping[History, str]] = {
    "replay": "refused: every message would come twice; choose `session`",
    "service": "refused: the provider would keep the conversation too; choose `session`",
    "session": SAME,
}

POINTS: Final[Mapping[str, tuple[str, Mapping[History, str]]]] = {
    "agent middleware": ("`AgentMiddleware`, `@agent_middleware`", dict.fromkeys(HISTORIES, SAME)),
    "chat middleware": ("`ChatMiddleware`, `@chat_middleware`", dict.fromkeys(HISTORIES, SAME)),
    "function middleware": ("`FunctionMiddleware`, `@function_middleware`", dict.fromkeys(HISTORIES, SAME)),
    "context provider": ("`ContextProvider` with state", dict.fromkeys(HISTORIES, SAME)),
    "memory provider": ("`ContextProvider` that stores the new messages", dict.fromkeys(HISTORIES, SAME)),
    "in-memory history": (
        "`InMemoryHistoryProvider`",
        {"replay": SAME, "service": _ONE_OWNER, "session": SAME},
    ),
    "own history": (
        "`HistoryProvider` that loads from elsewhere",
        _LOADS_ELSEWHERE,
    ),
    "file history": (
        "`FileHistoryProvider`",
        _LOADS_ELSEWHERE,
    ),
    "audit provider": ("`HistoryProvider(load_messages=False)`", dict.fromkeys(HISTORIES, SAME)),
    "compaction provider": ("`CompactionProvider`", dict.fromkeys(HISTORIES, SAME)),
    "compaction strategy": ("`Agent(compaction_strategy=...)`", dict.fromkeys(HISTORIES, SAME)),
    "skills": ("`SkillsProvider`", dict.fromkeys(HISTORIES, SAME)),
    "agent as a tool": ("`agent.as_tool()`", dict.fromkeys(HISTORIES, SAME)),
    "session in a tool": ("`FunctionInvocationContext.session`", dict.fromkeys(HISTORIES, SAME)),
    "message injection": ("`MessageInjectionMiddleware`", dict.fromkeys(HISTORIES, SAME)),
    "approval": ('`@tool(approval_mode="always_require")`', dict.fromkeys(HISTORIES, SAME)),
    "standing approval": (
        "`ToolApprovalMiddleware`, `create_always_approve_tool_response`",
        dict.fromkeys(HISTORIES, SAME),
    ),
    "agent loop": ("`AgentLoopMiddleware`", dict.fromkeys(HISTORIES, SAME)),
    "to-do list": ("`TodoProvider`", dict.fromkeys(HISTORIES, SAME)),
    "modes": ("`AgentModeProvider`", dict.fromkeys(HISTORIES, SAME)),
    "file memory": ("`FileMemoryProvider`", dict.fromkeys(HISTORIES, SAME)),
    "file access": ("`FileAccessProvider`", dict.fromkeys(HISTORIES, SAME)),
    "background agents": ("`BackgroundAgentsProvider`, one for the process", dict.fromkeys(HISTORIES, SAME)),
    "harness": (
        "`create_harness_agent`",
        {"replay": SAME, "service": _ONE_OWNER, "session": SAME},
    ),
}
"""By name: what it is in Agent Framework, and how it behaves under each history."""

NOT_TRIED: Final[Mapping[str, str]] = {
    "MemoryContextProvider": "it is a history provider like `FileHistoryProvider`, and calls the model by itself",
    "VectorStoreHistoryProvider": "it is a history provider like `FileHistoryProvider`, and needs embeddings",
    "VectorCollectionContextProvider": "it is a context provider without state, and needs embeddings",
}
"""Extension points of Agent Framework that no row tries, and why."""

STORY: Final = (
    "How each extension point of Agent Framework behaves behind a host, by the owner of the conversation "
    "(`HostOptions(history=...)`, see [state.md](state.md)). `tests/clients/test_framework_matrix.py` tests every cell "
    "for an agent and for a factory, with the client of OpenAI's Responses API, against the same agent without a host.",
    "**same** means that the model receives the same messages in every call, and the extension sees the same data, as "
    "when the agent runs with one session and no host. An agent is refused when the host is created; one from a "
    "factory is refused in its turn. Under `session` the agents have an `InMemoryHistoryProvider`, because that "
    "history needs a provider if the model's service keeps conversations by default.",
)
