"""Several agents in one process: chosen by name or path, one list, one limit, data apart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hostedagent import AgentGroup, ConfigurationError, HostOptions, sqlite_stores
from hostedagent.doors import Invocations
from hostedagent.engine import waiting
from hostedagent.testing import Gate, ScriptedAgent, serve
from tests.host.sockets import connecting
from tests.patience import PATIENCE
from tests.replicas.test_two_hosts import ended


def group(**given: Any) -> AgentGroup:
    agents = {name: (lambda name=name: ScriptedAgent([f"I am {name}."])) for name in ("writer", "critic")}
    return AgentGroup(agents, **given)


def text(reply: Any) -> str:
    return reply.json()["output"][0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("path", "more", "name"),
    [
        ("/responses", {}, "writer"),
        ("/responses", {"agent_reference": {"type": "agent_reference", "name": "critic"}}, "critic"),
        ("/responses", {"model": "critic"}, "critic"),
        ("/responses", {"model": "gpt"}, "writer"),
        ("/v1/responses", {"model": "critic"}, "critic"),
        ("/agents/critic/responses", {}, "critic"),
        ("/agents/critic/endpoint/protocols/openai/responses", {}, "critic"),
    ],
)
async def test_a_request_reaches_the_agent_that_it_names(path: str, more: dict[str, Any], name: str) -> None:
    async with serve(group().app) as http:
        reply = await http.post(path, json={"input": "hi", **more})

    assert reply.status == 200 and text(reply) == f"I am {name}."


async def test_the_agents_are_listed_and_an_unknown_one_is_none() -> None:
    async with serve(group().app) as http:
        models = (await http.get("/v1/models")).json()["data"]
        unknown = await http.post("/responses", json={"input": "hi", "agent_reference": {"name": "none"}})
        nowhere = await http.post("/agents/none/responses", json={"input": "hi"})

    assert [row["id"] for row in models] == ["writer", "critic"]
    assert (unknown.status, unknown.json()["error"]["param"], nowhere.status) == (404, "agent_reference.name", 404)


async def test_the_data_of_agents_are_apart_and_found_at_the_root() -> None:
    async with serve(group().app) as http:
        made = (await http.post("/responses", json={"input": "hi", "model": "critic"})).json()
        root = await http.get(f"/responses/{made['id']}")
        own = await http.get(f"/agents/critic/responses/{made['id']}")
        other = await http.get(f"/agents/writer/responses/{made['id']}")
        gone = await http.delete(f"/responses/{made['id']}")
        missing = await http.get(f"/responses/{made['id']}")

    assert (root.status, own.status, other.status, gone.status, missing.status) == (200, 200, 404, 200, 404)


async def test_agents_share_the_limit_of_turns_and_have_doors() -> None:
    gate = Gate()
    agents = {"slow": ScriptedAgent([gate, "Done."]), "other": ScriptedAgent(["Hi."])}
    made = AgentGroup(agents, options=HostOptions(max_turns=1), doors=lambda: [Invocations()])
    async with serve(made.app) as http:
        first = asyncio.create_task(http.post("/agents/slow/invocations", json={"input": "hi"}))
        await gate.reached()
        second = await http.post("/agents/other/invocations", json={"input": "hi"})
        gate.open()
        assert (await first).json()["response"] == "Done."
        third = await http.post("/agents/other/invocations", json={"input": "hi"})

    assert (second.status, third.json()["response"]) == (429, "Hi.")


@pytest.mark.parametrize("name", ["one", "two"])
async def test_a_turn_that_waits_begins_as_soon_as_one_of_any_agent_has_ended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 4 * PATIENCE)
    gate = Gate()
    agents = {"one": ScriptedAgent(["x", gate], ["Later."]), "two": ScriptedAgent(["Later."])}
    options = HostOptions(max_turns=1, max_queued=4, resilient_background=True)
    made = AgentGroup(agents, options=options, stores=lambda name: sqlite_stores(tmp_path / name))
    async with serve(made.app) as client:
        first = asyncio.create_task(client.post("/agents/one/responses", json={"input": "hi"}))
        await gate.reached()
        path = f"/agents/{name}/responses"
        queued = (await client.post(path, json={"input": "hi", "background": True})).json()
        gate.open()
        await first
        whole = await ended(client, queued["id"])

    assert (queued["status"], whole["status"]) == ("queued", "completed")


async def test_a_socket_reaches_the_agent_of_its_path_and_the_first_one_at_the_root() -> None:
    made = group(doors=lambda: [Invocations()])
    said: dict[str, str] = {}
    async with serve(made.app):
        for root in ("", "/agents/critic"):
            async with connecting(made.app, f"{root}/invocations_ws") as socket:
                socket.send({"input": "hi"})
                said[root] = (await socket.until("delta"))["text"]

    assert said == {"": "I am writer.", "/agents/critic": "I am critic."}


@pytest.mark.parametrize(
    "agents", [{}, *({name: ScriptedAgent()} for name in ("a b", "", ".", "..", "a/b", "ä", "x" * 65))]
)
def test_a_group_needs_agents_with_names(agents: Any) -> None:
    with pytest.raises(ConfigurationError):
        AgentGroup(agents)
