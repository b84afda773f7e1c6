"""`hostedagent run --workers N`: processes behind one port, on one PostgreSQL."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.test_run import running
from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn, schema

AGENT = """
import os
from agent_framework import Agent
from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import memory_stores, postgres_stores
from hostedagent.testing import OfflineChatClient

def answer(messages, _):
    return [f"{os.getpid()} {len(messages)}"]

def make():
    return Agent(OfflineChatClient(script=[answer] * 99))

if (kind := os.environ["STORES"]) == "postgres":
    stores = postgres_stores(os.environ["HOSTEDAGENT_DSN"], schema=os.environ["SCHEMA"])
else:
    stores = memory_stores()
host = AgentHost(make, driver="starlette", stores=stores)
"""


def test_workers_share_conversations_and_one_that_dies_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    with schema() as name:
        env = {"STORES": "postgres", "HOSTEDAGENT_DSN": postgres_dsn(), "SCHEMA": name}
        with running(tmp_path, "--workers", "2", env=env) as server:
            server.until("Ready at", last="with 2 workers")
            killed, counts = 0, list[int]()
            for _ in range(20):
                pid, count = server.ask(conversation="conv_1")["output"][0]["content"][0]["text"].split()
                counts.append(int(count))
                if not killed:
                    killed = int(pid)
                    os.kill(killed, signal.SIGKILL)
                    server.until("A worker has ended", last="signal 9")
            pids = set[int]()
            deadline = time.monotonic() + 60
            while len(pids - {killed}) < 2 and time.monotonic() < deadline:
                pids.add(int(server.ask()["output"][0]["content"][0]["text"].split()[0]))
            assert server.stop() == 0

    assert counts == list(range(1, 40, 2)) and len(pids - {killed}) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


DEAF = """
import os, signal

def interrupt(*_):
    os.write(1, b"interrupted\\n")
    os._exit(0)

signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"told to end\\n"))
signal.signal(signal.SIGINT, interrupt)
os.write(1, b"deaf\\n")
while True:
    signal.pause()
"""


def test_another_interrupt_is_passed_on_to_the_workers(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(DEAF)
    with running(tmp_path, "--workers", "2", env={"HOSTEDAGENT_DSN": "postgresql://127.0.0.1/none"}) as server:
        for said in ("deaf", "told to end", "interrupted"):
            server.until(said)
            server.until(said)
            if said != "interrupted":
                server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("ends", "says"), [("os.kill(os.getpid(), 9)", "signal 9"), ("os._exit(0)", "code 0")], ids=["signal", "exit"]
)
def test_a_worker_that_ends_without_a_word_while_it_starts_is_reported(tmp_path: Path, ends: str, says: str) -> None:
    (tmp_path / "agent.py").write_text(f"import os\n{ends}\n")
    with running(tmp_path, "--workers", "2", env={"HOSTEDAGENT_DSN": "postgresql://127.0.0.1/none"}) as server:
        server.until(f"A worker has ended with {says} while it started.")
        assert server.process.wait(timeout=PATIENCE) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--store", "memory"), "one process owns a store of the kind memory"),
        (("--store", "sqlite"), "one process owns a store of the kind sqlite"),
        (("--reload",), "cannot be combined"),
        ((), "one process owns the stores of this host"),
    ],
)
def test_stores_that_one_process_owns_are_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    with running(tmp_path, "--workers", "2", *arguments, env={"STORES": "memory"}) as server:
        assert server.process.stdout is not None
        said = server.process.stdout.read()
        code = server.process.wait(timeout=PATIENCE)

    assert says in said and code == 2
