"""A project of `hostedagent init`, for each choice: one edit of `.env`, started as its README says, and asked once."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hostedagent.emulator import Emulator
from hostedagent.templates import DEPLOYMENTS, FEATURES, PROTOCOLS, PROVIDERS, Choices, Feature, render
from tests.clients.upstream import Text, Upstream
from tests.clients.upstream.providers import PROVIDERS as WIRES
from tests.clients.upstream.providers import RESPONSES
from tests.patience import PATIENCE
from tests.samples.server import served

PROJECT = "/api/projects/agents"
ALL: frozenset[Feature] = frozenset(FEATURES)
ANSWER = "Hello from the server."
EDITS = {
    "openai": {"OPENAI_API_KEY": "unused", "OPENAI_BASE_URL": "URL/v1", "OPENAI_MODEL": "any"},
    "azure": {"AZURE_OPENAI_ENDPOINT": "URL"},
    "foundry": {"FOUNDRY_PROJECT_ENDPOINT": f"URL{PROJECT}"},
    "offline": {},
}
"""What a provider needs in `.env`; `URL` is the fake server."""

CHOICES = {
    "openai": Choices(name="shop", provider="openai", features=frozenset()),
    "openai, tools": Choices(name="shop", provider="openai"),
    "openai, approvals": Choices(name="shop", provider="openai", features=frozenset({"tools", "approvals"})),
    "openai, mcp": Choices(name="shop", provider="openai", features=frozenset({"mcp"})),
    "openai, workflow": Choices(name="shop", provider="openai", features=frozenset({"workflow"})),
    "openai, everything": Choices(
        name="shop", provider="openai", features=ALL, protocols=frozenset(PROTOCOLS), deployment="code"
    ),
    "azure": Choices(name="shop", provider="azure", protocols=frozenset(PROTOCOLS)),
    "foundry": Choices(name="shop", provider="foundry", features=ALL),
    "offline": Choices(name="shop", provider="offline", features=ALL - {"workflow"}),
}


def test_every_value_of_every_choice_is_tried() -> None:
    tried = list(CHOICES.values())
    assert {one.provider for one in tried} == set(PROVIDERS)
    assert {one.deployment for one in tried} == set(DEPLOYMENTS)
    assert frozenset[str]().union(*(one.protocols for one in tried)) == set(PROTOCOLS)
    assert frozenset[str]().union(*(one.features for one in tried)) == set(FEATURES)


def written(folder: Path, choices: Choices, url: str) -> Path:
    """The project, after the one edit that its README asks for."""
    for name, text in render(choices).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    settings = (folder / ".env.example").read_text(encoding="utf-8")
    for name, value in EDITS[choices.provider].items():
        settings, count = re.subn(rf"^{name}=.*$", f"{name}={value.replace('URL', url)}", settings, flags=re.MULTILINE)
        assert count == 1, f"{name} is not in .env.example"
    (folder / ".env").write_text(settings, encoding="utf-8")
    return folder


@asynccontextmanager
async def running(folder: Path, variables: Mapping[str, str]) -> AsyncGenerator[str]:
    """`hostedagent run` in a folder, while the fakes of this process answer."""
    server = served("main.py", folder=folder, **variables)
    url = await asyncio.to_thread(server.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def invoked(url: str, *arguments: str) -> str:
    """What `hostedagent invoke` prints on standard output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hostedagent", "invoke", "--url", url, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        said, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return said.decode()


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set already would win over `.env`."""
    for settings in EDITS.values():
        for name in settings:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(WIRES, f"{PROJECT}/openai/v1/responses", RESPONSES)
    monkeypatch.setitem(WIRES, "/openai/v1/responses", RESPONSES)


@pytest.mark.parametrize("name", CHOICES)
async def test_a_project_answers_after_one_edit(name: str, tmp_path: Path) -> None:
    choices = CHOICES[name]
    async with Emulator() as platform, Upstream() as upstream:
        folder = written(tmp_path, choices, upstream.url)
        if choices.provider != "offline":
            upstream.script(*[Text(ANSWER)] * (2 if "workflow" in choices.features else 1))
        # Tokens for Azure come from the machine's identity, as on a machine in Azure.
        identity = {key: value for key, value in platform.environment.items() if not key.startswith("FOUNDRY_")}
        async with running(folder, identity) as url:
            said = await invoked(url, "My name is Ada.")

    assert said.splitlines()[-1] == (ANSWER if choices.provider != "offline" else "Nice to meet you, Ada.")


@pytest.mark.parametrize("name", ["openai, tools", "openai, everything"])
async def test_a_project_is_hosted_by_the_emulator(name: str, tmp_path: Path) -> None:
    choices = CHOICES[name]
    async with Emulator() as platform, Upstream() as upstream:
        folder = written(tmp_path, choices, upstream.url)
        settings = {
            key: value.replace("URL", upstream.url) for key, value in EDITS[choices.provider].items()
        }  # A hosted process reads no .env.
        upstream.script(*[Text(ANSWER)] * (2 if "workflow" in choices.features else 1))
        async with running(folder, {**platform.environment, **settings}) as url:
            ada = ("-H", "x-agent-user-id: ada", "-H", "x-agent-foundry-call-id: ada.1")
            said = await invoked(url, "My name is Ada.", *ada)
        users, routes = {entry.user for entry in platform.log}, platform.log.routes

    assert said.splitlines()[-1] == ANSWER
    assert users == {"ada"} and "responses.create" in routes
