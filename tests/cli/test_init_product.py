"""All combinations of the choices of `hostedagent init`: their files can be read, and their agents answer."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable
from functools import cache
from itertools import chain, combinations, product
from pathlib import Path, PurePosixPath
from time import time
from typing import Any, Final, Self

import pytest
import yaml
from azure.core.credentials import AccessToken

from hostedagent.cli.init import parse_features
from hostedagent.cli.loader import Target, as_host, load
from hostedagent.templates import DEPLOYMENTS, FEATURES, PROTOCOLS, PROVIDERS, Choices, render
from hostedagent.testing import serve
from tests.cli.test_init_served import ANSWER, EDITS, PROJECT
from tests.clients.upstream import Text, Upstream
from tests.clients.upstream.providers import PROVIDERS as WIRES
from tests.clients.upstream.providers import RESPONSES

FEATURE_SETS: Final = sorted(
    {
        parse_features(",".join(names))
        for names in chain.from_iterable(combinations(FEATURES, n) for n in range(len(FEATURES) + 1))
    },
    key=sorted,
)
PROTOCOL_SETS: Final = (frozenset[Any](), frozenset(PROTOCOLS))

EVERY: Final = [
    Choices(
        name="shop",
        provider=provider,
        features=features,
        deployment=deployment,
        protocols=protocols,
    )
    for provider, features, deployment, protocols in product(PROVIDERS, FEATURE_SETS, DEPLOYMENTS, PROTOCOL_SETS)
]

SERVED: Final = [
    Choices(
        name="shop",
        provider=provider,
        features=features,
        deployment=list(DEPLOYMENTS)[(row + column // 2) % 2],
        protocols=PROTOCOL_SETS[(row + column) % 2],
    )
    for row, provider in enumerate(PROVIDERS)
    for column, features in enumerate(FEATURE_SETS)
]
"""Each pair of two choices occurs in one of them."""

READERS: Final[dict[str, Callable[[str], object]]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".json": json.loads,
}


@cache
def read(suffix: str, text: str) -> object:
    return READERS[suffix](text)


class Credential:
    """Takes the place of the machine's identity."""

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken("token", int(time()) + 3600)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None: ...


def settings_of(choices: Choices) -> list[tuple[str, object]]:
    return [
        ("provider", choices.provider),
        ("features", choices.features),
        ("deployment", choices.deployment),
        ("protocols", choices.protocols),
    ]


def test_every_pair_of_choices_is_served() -> None:
    pairs = {pair for choices in EVERY for pair in combinations(settings_of(choices), 2)}

    assert pairs == {pair for choices in SERVED for pair in combinations(settings_of(choices), 2)}


def test_every_file_of_every_project_can_be_read() -> None:
    for choices in EVERY:
        files = render(choices)
        for name, text in files.items():
            if (suffix := PurePosixPath(name).suffix) in READERS:
                read(suffix, text)
        service: Any = yaml.safe_load(files["azure.yaml"])["services"]["shop"]
        assert ("codeConfiguration" in service) is (choices.deployment == "code")
        assert len(service["protocols"]) == (3 if choices.protocols else 1)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is signed in, where no model is set, and a server that listens at all paths."""
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", Credential)
    for settings in EDITS.values():
        for name in settings:
            monkeypatch.delenv(name, raising=False)
    for path in (f"{PROJECT}/openai/v1/responses", "/openai/v1/responses"):
        monkeypatch.setitem(WIRES, path, RESPONSES)


def named(choices: Choices) -> str:
    more = "invocations" if choices.protocols else "responses"
    return "-".join([choices.provider, *(sorted(choices.features) or ["none"]), more, choices.deployment])


@pytest.mark.parametrize("choices", SERVED, ids=named)
async def test_the_agent_of_a_project_answers(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in render(choices).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    async with Upstream() as upstream:
        for name, value in re.findall(r"^(\w+)=(.*)$", (tmp_path / ".env.example").read_text(), re.MULTILINE):
            given = str(EDITS[choices.provider].get(name, value)).replace("URL", upstream.url)
            if given:
                monkeypatch.setenv(name, given)
        runs = (2 if "workflow" in choices.features else 1) * (2 if choices.protocols else 1)
        if choices.provider != "offline":
            upstream.script(*[Text(ANSWER)] * runs)
        target = Target(str(tmp_path / "main.py"), None, is_file=True)
        host = as_host(load(target), target)
        async with serve(host.app) as caller:
            reply = await caller.post("/responses", json={"input": "My name is Ada."})
            other = await caller.post("/invocations", json={"input": "My name is Ada."}) if choices.protocols else None

    texts = [part["text"] for item in reply.json()["output"] if item["type"] == "message" for part in item["content"]]
    assert texts[-1] == (ANSWER if choices.provider != "offline" else "Nice to meet you, Ada.")
    assert other is None or other.status == 200
