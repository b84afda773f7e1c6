"""`hostedagent run` as a process: what it reads, where it keeps things, how it starts again, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostedagent.cli.port import free_port

AGENT = """
import os
from agent_framework import Agent
from hostedagent.testing import OfflineChatClient

agent = Agent(OfflineChatClient(script=[os.environ.get("REPLY", "one")] * 9))
"""


@dataclass(slots=True)
class Running:
    """The command, and what it prints."""

    process: subprocess.Popen[str]
    port: int

    def until(self, begins: str) -> str:
        """The next line that begins so."""
        assert self.process.stdout is not None
        seen: list[str] = []
        for line in self.process.stdout:
            seen.append(line)
            if line.startswith(begins):
                return line
        raise AssertionError("".join(seen))

    def ask(self, text: str = "hi", **body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/responses",
            json.dumps({"input": text, **body}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def says(self) -> str:
        return self.ask()["output"][0]["content"][0]["text"]

    def refusal(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def running(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Generator[Running]:
    """Run `agent.py` of a folder in it."""
    port = free_port("127.0.0.1", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "hostedagent", "run", "agent.py", "--port", str(port), *arguments],
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
        assert server.until("Read ") == "Read 2 variables from local.env.\n"
        server.until("Ready at ")
        assert server.says() == "two"
        assert server.stop() == 0


def test_the_start_says_what_took_its_time(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)

    with running(tmp_path) as server:
        assert server.until("Loading ") == "Loading agent.py ...\n"
        line = server.until("Ready at ")

    assert line.startswith(f"Ready at http://127.0.0.1:{server.port}/responses after ")
    assert " (packages " in line


def test_what_is_kept_in_files_is_there_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    with running(tmp_path, "--store", "file") as server:
        server.until("Ready at ")
        response_id = server.ask()["id"]
        assert server.stop() == 0

    with running(tmp_path, "--store", "file") as server:
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
