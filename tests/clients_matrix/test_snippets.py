"""The snippet of each client's page works as it is shown, against a sample."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples.server import served

from .clients import CLIENTS
from .environments import Environment

SNIPPETS = Path(__file__).with_name("snippets")
ANSWER = "snow, -3 degrees"
NOT_RUN = {
    "azure-ai-projects": "it needs a project",
    "codex": "it is a configuration; the matrix runs the client with the same settings",
    "foundry-agent": "it needs a project",
    "litellm-proxy": "it is a configuration; the matrix runs the client with the same settings",
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with served("samples/hello/agent.py") as url:
        yield url


def test_every_client_has_one_snippet() -> None:
    assert sorted(path.stem for path in SNIPPETS.iterdir()) == sorted(CLIENTS)


@pytest.mark.parametrize("name", [name for name in CLIENTS if name not in NOT_RUN])
async def test_a_snippet_prints_the_answer(name: str, host: str, tmp_path: Path) -> None:
    environment = CLIENTS[name].environment
    if not environment.is_installed:
        pytest.skip(f"not installed: python -m tests.clients_matrix install {name}")
    (snippet,) = SNIPPETS.glob(f"{name}.*")

    printed = await run_script(environment, _prepared(snippet, environment, host, tmp_path))

    assert ANSWER in printed


def _prepared(snippet: Path, environment: Environment, host: str, folder: Path) -> Path:
    """A copy of the snippet for this host. Its name must not hide the package that it imports."""
    text = snippet.read_text()
    assert "http://127.0.0.1:8088" in text
    copy = folder / f"snippet{snippet.suffix}"
    copy.write_text(text.replace("http://127.0.0.1:8088", host))
    if environment.node:
        (folder / "node_modules").symlink_to(environment.path / "node_modules")
    return copy


async def run_script(environment: Environment, script: Path, *arguments: str) -> str:
    """What a script prints that runs in a client's environment."""
    command = environment.binaries / ("node" if environment.node else "python")
    process = await asyncio.create_subprocess_exec(
        command,
        script,
        *arguments,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode())
