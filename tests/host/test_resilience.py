"""What `resilient_background` asks for. What it does is tried with processes: tests/crash/test_recovery.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.errors import ConfigurationError
from hostedagent.stores.factory import memory_stores, sqlite_stores
from hostedagent.testing import ScriptedAgent, serve

MOST = 10 * 1024 * 1024 - 16 * 1024


def test_stores_that_end_with_the_process_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="outlive"):
        AgentHost(ScriptedAgent(["hi"]), stores=memory_stores(), options=HostOptions(resilient_background=True))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("x" * (MOST - 1_000), 200),
        ("x" * MOST, 413),
        ("é" * (MOST // 6), 413),
        ("\N{GRINNING FACE}" * (MOST // 12 - 100), 200),
        ("\N{GRINNING FACE}" * (MOST // 12), 413),
    ],
    ids=["ASCII", "too much ASCII", "too many accents", "emoji", "too many emoji"],
)
async def test_a_background_request_that_the_sdk_cannot_keep_is_refused(
    text: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTSERVER_STATE_ROOT", str(tmp_path))
    options = HostOptions(resilient_background=True)
    host = AgentHost(ScriptedAgent(["ok"], ["ok"]), stores=sqlite_stores(tmp_path / "state.db"), options=options)
    async with serve(host.app) as client:
        background = await client.post("/responses", json={"input": text, "background": True})
        foreground = await client.post("/responses", json={"input": text})

    assert (background.status, foreground.status) == (status, 200)
    if status == 413:
        assert "background=false" in background.json()["error"]["message"]
