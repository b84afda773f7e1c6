"""samples/foundry without Azure: its settings, and a turn with a fake of the project's model."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from hostedagent import AgentHost, ConfigurationError, memory_stores
from hostedagent.cli.failures import rendered
from hostedagent.cli.loader import Target, UserCodeError, load
from hostedagent.testing import serve
from tests.clients.upstream import Text, ToolCall, Upstream
from tests.clients.upstream.providers import PROVIDERS, RESPONSES
from tests.samples.server import ROOT

ENDPOINT, MODEL = "FOUNDRY_PROJECT_ENDPOINT", "AZURE_AI_MODEL_DEPLOYMENT_NAME"
PROJECT = "/api/projects/agents"


class Credential:
    """Gives a token for whatever is asked, and remembers what that was."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("a-token", 4_102_444_800)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Credential:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv(ENDPOINT, f"https://account.services.ai.azure.com{PROJECT}")
    monkeypatch.setenv(MODEL, "model-1")
    return importlib.import_module("samples.foundry.agent")


def test_it_loads_without_a_network(sample: ModuleType) -> None:
    assert sample.agent.name == "weather"


@pytest.mark.parametrize("name", [ENDPOINT, MODEL])
def test_every_alias_of_a_setting_is_read_and_its_own_name_counts_first(sample: ModuleType, name: str) -> None:
    others = {ENDPOINT: "https://x", MODEL: "m"}
    del others[name]

    for alias in sample.ALIASES[name]:
        settings = sample.Settings.read({**others, name: "", alias: "from the alias"})
        assert "from the alias" in (settings.endpoint, settings.model)
        settings = sample.Settings.read({**others, name: "its own", alias: "from the alias"})
        assert "its own" in (settings.endpoint, settings.model)


@pytest.mark.parametrize("name", [ENDPOINT, MODEL])
def test_a_missing_setting_is_named_with_its_aliases(sample: ModuleType, name: str) -> None:
    given = {ENDPOINT: "https://x", MODEL: "m"}
    del given[name]

    with pytest.raises(ConfigurationError) as raised:
        sample.Settings.read(given)

    assert all(one in str(raised.value) for one in (name, *sample.ALIASES[name]))


def test_who_runs_it_is_told_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch, sample: ModuleType) -> None:
    for name in (ENDPOINT, MODEL, *sample.ALIASES[ENDPOINT], *sample.ALIASES[MODEL]):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])

    with pytest.raises(UserCodeError) as raised:
        load(Target.parse(str(ROOT / "samples/foundry/agent.py")))

    assert f"ConfigurationError: {ENDPOINT} is not set" in rendered(raised.value.error)


def test_the_readme_lists_the_settings_and_their_aliases(sample: ModuleType) -> None:
    readme = (ROOT / "samples/foundry/README.md").read_text()

    for name, aliases in sample.ALIASES.items():
        listed = ", ".join(f"`{alias}`" for alias in aliases)
        assert f"| `{name}` | {listed} |" in readme


async def test_a_turn_calls_the_model_of_the_project_and_the_tool(
    sample: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROVIDERS, f"{PROJECT}/openai/v1/responses", RESPONSES)
    credential = Credential()
    async with Upstream() as upstream:
        upstream.script(ToolCall("get_weather", {"city": "Oslo"}), Text("Snow, and three below."))
        settings = sample.Settings(endpoint=f"{upstream.url}{PROJECT}", model="model-1")
        host = AgentHost(sample.make_agent(settings, credential), stores=memory_stores())
        async with serve(host.app) as client:
            reply = await client.post("/responses", json={"input": "What is the weather in Oslo?"})
        calls, requests = upstream.calls, upstream.requests

    response = reply.json()
    assert reply.status == 200 and response["status"] == "completed", reply.text
    assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]
    assert response["output"][0]["output"] == "snow, -3 degrees"
    assert {call.headers["authorization"] for call in calls} == {"Bearer a-token"}
    assert set(credential.scopes) == {"https://ai.azure.com/.default"}
    assert {body["model"] for body in requests} == {"model-1"}
