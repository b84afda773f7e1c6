"""Ended background streams that the SDK keeps on disk hold a bounded number of open files."""

from pathlib import Path
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.server.agentserver import ownership
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import ScriptedAgent, serve

TURNS = 12


def open_streams(folder: Path) -> int:
    """How many files of streams this process has open; where the system does not say, how many there are."""
    listed = Path("/proc/self/fd")
    if not listed.is_dir():
        return len(list(folder.rglob("*.jsonl")))
    targets: list[str] = []
    for link in listed.iterdir():
        try:
            targets.append(str(link.readlink()))
        except OSError:
            continue  # The listing itself.
    return sum(target.startswith(str(folder)) and target.endswith(".jsonl") for target in targets)


async def test_ended_background_streams_hold_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "MAX_OPEN_FILES", 3)
    monkeypatch.setenv("AGENTSERVER_STATE_ROOT", str(tmp_path))
    options = HostOptions(resilient_background=True)
    host = AgentHost(ScriptedAgent(*[["ok"]] * TURNS), stores=sqlite_stores(tmp_path / "state.db"), options=options)
    body: dict[str, Any] = {"input": "hi", "background": True, "stream": True}

    async with serve(host.app) as client:
        replies = [await client.post("/responses", json=body) for _ in range(TURNS)]
        ids = [reply.log().events[0]["response"]["id"] for reply in replies]
        last = await client.get(f"/responses/{ids[-1]}?stream=true")
        stored = await client.get(f"/responses/{ids[0]}")
        assert 0 < open_streams(tmp_path) <= 4

    assert last.log().status == "completed"
    assert stored.json()["status"] == "completed"


def test_the_bound_is_far_below_what_the_process_keeps_for_itself() -> None:
    assert ownership.MAX_OPEN_FILES == 64
