"""Real clients on the routes beside `/responses`, against the package's own routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples.server import served

from .clients import CLIENTS
from .test_snippets import run_script

SCRIPTS = Path(__file__).with_name("routes")
OPENAI = ["models", "conversations", "input_tokens", "compact", "connect"]
CHAT_COMPLETIONS = ["whole", "streamed", "tools"]
WORKS = {
    "openai-python": OPENAI,
    "openai-node": OPENAI,
    "langchain": CHAT_COMPLETIONS,
    "ai-sdk": CHAT_COMPLETIONS,
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with served("tests/clients_matrix/routes/host.py") as url:
        yield url


@pytest.mark.parametrize("name", WORKS)
async def test_a_client_finds_its_routes(name: str, host: str, tmp_path: Path) -> None:
    environment = CLIENTS[name].environment
    if not environment.is_installed:
        pytest.skip(f"not installed: python -m tests.clients_matrix install {name}")
    (script,) = SCRIPTS.glob(f"{name}.*")
    copy = tmp_path / f"script{script.suffix}"  # Its name must not hide the package that it imports.
    copy.write_text(script.read_text())
    if environment.node:
        (tmp_path / "node_modules").symlink_to(environment.path / "node_modules")

    printed = await run_script(environment, copy, f"{host}/v1")

    assert printed.split() == WORKS[name], printed
