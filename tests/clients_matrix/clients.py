"""The clients of the matrix: which environment and driver each has, and the setting that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hostedagent import CallerPolicy, HostOptions

from .environments import ENVIRONMENTS, Environment
from .features import Check, notes_came, reasoning_came_back

_CALLS: Final = ("call ", "result ")
_NO_CALLS: Final = "with `store=false` it does not send the agent's calls back"
_NO_RESULTS: Final = (
    "with `store=false` it sends the agent's calls back without their results, which the host has not stored"
)
_NO_ARGUMENTS: Final = (
    "streamed and with `store=false`, it sends the agent's calls back without their arguments: it reads them in "
    "`response.output_item.added`, where they have not arrived"
)
_NO_CALLS_OF_CHAT: Final = "a Chat Completions message has no field for the agent's calls, so it drops them"
_ONLY_TEXT: Final = "it keeps only the text of the agent's answers, not the calls before it"
DRIVERS: Final = Path(__file__).with_name("drivers")


@dataclass(frozen=True, slots=True)
class Loss:
    """What a client does not send, so that the model cannot see it."""

    why: str
    lines: tuple[str, ...] = ()
    """The beginnings of the lines of the model's transcript that are not compared."""
    check: Check | None = None
    """What is checked instead of the feature's own check."""


@dataclass(frozen=True, slots=True)
class Client:
    """One column of the table."""

    title: str
    environment: Environment
    driver: str
    """The script below `drivers`; it is run with the environment's Python or Node."""
    options: HostOptions = field(default_factory=HostOptions)
    setting: str = "none"
    """What `options` sets, as the document shows it."""
    in_client: str = ""
    """What must be set in the client itself."""
    adds_to_prompt: bool = False
    """Whether the client sends instructions of its own, so that the model sees more than the test's words."""
    loses: Mapping[str, Loss] = field(default_factory=dict[str, Loss])
    """Features in which the client does not send everything, and what is missing then."""
    hides_error_codes: bool = False
    """Whether the errors that the client raises name no code."""


def _client(title: str, environment: str, driver: str, **fields: object) -> Client:
    return Client(title, ENVIRONMENTS[environment], driver, **fields)  # pyright: ignore[reportArgumentType]


CLIENTS: Final[Mapping[str, Client]] = {
    "openai-python": _client("`openai` (Python)", "openai-python", "openai_python.py"),
    "openai-node": _client("`openai` (Node)", "openai-node", "openai_node.mjs"),
    "openai-agents-python": _client("`openai-agents` (Python)", "openai-agents-python", "openai_agents_python.py"),
    "openai-agents-js": _client(
        "`@openai/agents` (Node)",
        "openai-agents-js",
        "openai_agents_js.mjs",
        hides_error_codes=True,
        loses={"reasoning": Loss(_NO_RESULTS, ("result ",), check=reasoning_came_back)},
    ),
    "langchain": _client("LangChain `create_agent`", "langchain", "langchain_agent.py"),
    "langgraph": _client("LangGraph", "langchain", "langgraph_nodes.py"),
    "pydantic-ai": _client(
        "pydantic-ai",
        "pydantic-ai",
        "pydantic_ai_agent.py",
        in_client="with a model that it knows as a reasoning model, such as `gpt-5`, or with "
        "`openai_send_reasoning_ids=True`, it sends the agent's calls and their reasoning back",
        loses={
            "reasoning": Loss(_NO_RESULTS, ("result ",), check=reasoning_came_back),
            "text_file": Loss("it names every text file `filename.txt`", check=notes_came),
        },
    ),
    "ai-sdk": _client(
        "AI SDK (`ai`, `@ai-sdk/openai`)",
        "ai-sdk",
        "ai_sdk.mjs",
        loses={"reasoning": Loss(_NO_CALLS, _CALLS, check=reasoning_came_back)},
    ),
    "llama-index": _client(
        "LlamaIndex",
        "llama-index",
        "llama_index_agent.py",
        loses={
            **dict.fromkeys(("both_tools", "history", "dumped"), Loss(_ONLY_TEXT, _CALLS)),
            "reasoning": Loss(f"{_ONLY_TEXT}; it sends reasoning only with `store=true`", (*_CALLS, "reasoning ")),
        },
    ),
    "litellm": _client(
        "LiteLLM (bridge)",
        "litellm",
        "litellm_bridge.py",
        loses={
            **dict.fromkeys(("both_tools", "history", "dumped"), Loss(_NO_CALLS_OF_CHAT, _CALLS)),
            "reasoning": Loss(_NO_CALLS_OF_CHAT, _CALLS, check=reasoning_came_back),
        },
    ),
    "litellm-proxy": _client("LiteLLM (proxy)", "litellm-proxy", "litellm_proxy.py"),
    "agent-framework": _client(
        "Agent Framework `OpenAIChatClient`",
        "agent-framework",
        "agent_framework_client.py",
        loses={"reasoning": Loss(_NO_ARGUMENTS, ("call ",), check=reasoning_came_back)},
    ),
    "foundry-agent": _client(
        "Agent Framework `FoundryAgent`",
        "agent-framework",
        "foundry_agent.py",
        loses={"reasoning": Loss(_NO_ARGUMENTS, ("call ",), check=reasoning_came_back)},
    ),
    "azure-ai-projects": _client("`azure-ai-projects`", "azure-ai-projects", "azure_ai_projects.py"),
    "codex": _client(
        "Codex CLI",
        "codex",
        "codex.py",
        adds_to_prompt=True,
        hides_error_codes=True,
        loses={
            name: Loss("it drops items that it does not know, such as `mcp_call`", _CALLS, check=check)
            for name, check in (("history", None), ("reasoning", reasoning_came_back))
        },
        options=HostOptions(caller=CallerPolicy(unknown_tools="drop")),
        setting='`CallerPolicy(unknown_tools="drop")`',
    ),
}
