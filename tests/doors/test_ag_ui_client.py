"""AG-UI with the client of its front ends, `@ag-ui/client`, over a real connection."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from agent_framework import Agent, tool

from hostedagent import current_turn
from hostedagent.doors import AgUi
from hostedagent.testing import OfflineChatClient
from tests.host.approving import call
from tests.host.test_websocket_client import serving

MODULES = Path(os.environ.get("HOSTEDAGENT_AG_UI", Path(__file__).parents[2]))


async def test_the_client_reads_messages_tools_state_and_interrupts() -> None:
    if shutil.which("node") is None or not (MODULES / "node_modules/@ag-ui/client").is_dir():
        pytest.skip(
            "no client: npm install --no-save @ag-ui/client, or set HOSTEDAGENT_AG_UI to the folder that has it"
        )
    paid: list[str] = []

    @tool(approval_mode="never_require")
    def weather(city: str) -> str:
        state = current_turn().state
        assert state is not None
        state["cart"] = [city]
        return f"Sunny in {city}."

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        paid.append(to)
        return "paid"

    script = [
        ["Hello."],
        [call("c1", "weather", city="Rome")],
        ["It is sunny."],
        [call("map-1", "show_map")],
        ["Here it is."],
        [call("c2", "pay", to="ann")],
        ["Done."],
    ]
    model = OfflineChatClient(script=script)
    async with serving(Agent(model, tools=[weather, pay]), doors=[AgUi()]) as address:
        client = await asyncio.create_subprocess_exec(
            "node",
            str(Path(__file__).with_name("ag_ui_client.mjs")),
            f"http://127.0.0.1:{address.port}/ag-ui",
            cwd=MODULES,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await client.communicate()

    assert client.returncode == 0, error.decode()
    assert json.loads(out.decode().splitlines()[-1]) == {
        "said": [
            ["Hello."],
            [["weather"], "Sunny in Rome.", "It is sunny."],
            [["show_map"]],
            ["Here it is."],
            [],
            [["pay"], "paid", "Done."],
        ],
        "state": {"cart": ["Rome"]},
        "interrupts": ["Allow pay?"],
    }
    assert paid == ["ann"]
    users = [line for line in model.calls[-1].transcript if line.startswith("user: ") and "state" not in line]
    assert users == ["user: hello", "user: weather?", "user: map", "user: pay ann"]
