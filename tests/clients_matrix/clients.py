"""The clients of the matrix: which environment and driver each has, and the setting that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hostedagent import CallerPolicy, HostOptions

from .environments import ENVIRONMENTS, Environment

_NO_RESULTS: Final = "it sends the agent's calls back without their results"
_NO_CALLS: Final = "with `store=false` it does not send the agent's calls back"
DRIVERS: Final = Path(__file__).with_name("drivers")


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
    loses: Mapping[str, str] = field(default_factory=dict[str, str])
    """Features in which the client does not send back everything that it got, and what is missing then."""
    hides_error_codes: bool = False
    """Whether the errors that the client raises name no code."""


def _client(title: str, environment: str, driver: str, **fields: object) -> Client:
    return Client(title, ENVIRONMENTS[environment], driver, **fields)  # pyright: ignore[reportArgumentType]


CLIENTS: Final[Mapping[str, Client]] = {
    "openai-python": _client("`openai` (Python)", "openai-python", "openai_python.py"),
    "openai-node": _client("`openai` (Node)", "openai-node", "openai_node.mjs"),
    "openai-agents-python": _client("`openai-agents` (Python)", "openai-agents-python", "openai_agents_python.py"),
    "openai-agents-js": _client(
        "`@openai/agents` (Node)", "openai-agents-js", "openai_agents_js.mjs", hides_error_codes=True
    ),
    "langchain": _client("LangChain `create_agent`", "langchain", "langchain_agent.py"),
    "langgraph": _client("LangGraph", "langchain", "langgraph_nodes.py"),
    "pydantic-ai": _client(
        "pydantic-ai",
        "pydantic-ai",
        "pydantic_ai_agent.py",
        in_client="`openai_send_reasoning_ids=True` sends the agent's calls back; the default for reasoning models",
    ),
    "ai-sdk": _client("AI SDK (`ai`, `@ai-sdk/openai`)", "ai-sdk", "ai_sdk.mjs", loses={"reasoning": _NO_CALLS}),
    "llama-index": _client("LlamaIndex", "llama-index", "llama_index_agent.py"),
    "litellm": _client("LiteLLM (bridge)", "litellm", "litellm_bridge.py"),
    "litellm-proxy": _client("LiteLLM (proxy)", "litellm-proxy", "litellm_proxy.py"),
    "agent-framework": _client("Agent Framework `OpenAIChatClient`", "agent-framework", "agent_framework_client.py"),
    "foundry-agent": _client("Agent Framework `FoundryAgent`", "agent-framework", "foundry_agent.py"),
    "azure-ai-projects": _client("`azure-ai-projects`", "azure-ai-projects", "azure_ai_projects.py"),
    "codex": _client(
        "Codex CLI",
        "codex",
        "codex.py",
        adds_to_prompt=True,
        hides_error_codes=True,
        options=HostOptions(caller=CallerPolicy(unknown_tools="drop")),
        setting='`CallerPolicy(unknown_tools="drop")`',
    ),
}
