"""Where `hostedagent run` serves the local page, and where it does not."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.test_run import AGENT, running
from tests.patience import PATIENCE

HOSTED = {
    "FOUNDRY_HOSTING_ENVIRONMENT": "local",
    "FOUNDRY_PROJECT_ENDPOINT": "https://localhost:1/api/projects/p",
    "FOUNDRY_AGENT_NAME": "a",
    "FOUNDRY_AGENT_VERSION": "1",
}


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_is_served_on_this_machine_and_named_when_ready(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path) as server:
        line = server.until("Chat with it at ")
        assert line == f"Chat with it at http://127.0.0.1:{server.port}/\n"
        assert status(line.split()[-1]) == 200


@pytest.mark.parametrize(
    ("env", "command"), [({"UV_RUN_RECURSION_DEPTH": "1"}, "uv run hostedagent"), ({}, "hostedagent")]
)
def test_the_command_that_chats_can_be_typed_where_the_server_was_started(
    env: dict[str, str], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)  # The tests may run below `uv run`.
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path, env=env) as server:
        line = server.until("Or in another terminal: ")

    assert line == f"Or in another terminal: {command} chat --url http://127.0.0.1:{server.port}\n"


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (("--no-page",), {}),
        (("--host", "0.0.0.0"), {}),
        (("--store", "memory"), HOSTED),
        (("--store", "memory", "--page-token", "t0ken"), HOSTED),
    ],
)
def test_the_page_is_not_served(tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str]) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path, *arguments, env=env) as server:
        server.until("Ready at ")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=PATIENCE) as reply:
            assert reply.headers.get_content_type() == "text/plain"
        assert status(f"http://127.0.0.1:{server.port}/playground/app.js") == 404


def test_other_machines_need_the_token(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path, "--host", "0.0.0.0", "--page-token", "t0ken") as server:
        assert server.until("Chat with it at ").endswith("/?token=t0ken\n")
        assert status(f"http://127.0.0.1:{server.port}/") == 401
