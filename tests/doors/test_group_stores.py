"""The data of a group's agents are apart in every store, hosted on Foundry too, where all agents share one project."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from agent_framework import Agent, tool

from hostedagent import AgentGroup
from hostedagent.cli.stores import stores_maker
from hostedagent.doors import Invocations
from hostedagent.emulator import Emulator
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.host.approving import call
from tests.postgres.server import postgres
from tests.stores import Identified

KINDS = ("memory", "sqlite", "postgres", "foundry")
PAID: list[str] = []


@tool(approval_mode="always_require")
def pay(to: str) -> str:
    """Pay somebody."""
    PAID.append(to)
    return "paid"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return request.param


@asynccontextmanager
async def group(
    kind: str, monkeypatch: pytest.MonkeyPatch, *models: OfflineChatClient
) -> AsyncGenerator[InProcessClient]:
    """Two agents, `one` and `two-b`, on stores of a kind; as Foundry hosts them where the kind is that."""
    names = ("one", "two-b")
    agents = {name: Agent(model, name=name, tools=[pay]) for name, model in zip(names, models, strict=True)}
    if kind == "foundry":
        async with Emulator(anonymous="refuse") as emulator:
            emulator.trust()
            monkeypatch.setenv("FOUNDRY_HOSTING_ENVIRONMENT", "hosted")
            monkeypatch.setenv("FOUNDRY_PROJECT_ENDPOINT", emulator.endpoint)
            monkeypatch.setattr("hostedagent.stores.foundry.store.OwnCredential", lambda: emulator.credential)
            made = AgentGroup(agents, doors=lambda: [Invocations()])
            async with serve(Identified(made.app)) as client:
                yield client
        return
    with ExitStack() as stack:
        if kind == "postgres":
            stores = {name: stack.enter_context(postgres()) for name in names}
        else:
            stores = {name: maker() for name in names if (maker := stores_maker(kind, name)) is not None}
        made = AgentGroup(agents, doors=lambda: [Invocations()], stores=stores.__getitem__)
        async with serve(made.app) as client:
            yield client


async def test_a_conversation_with_the_same_id_is_another_at_each_agent(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = OfflineChatClient(script=[["One."], ["Again."]]), OfflineChatClient(script=[["Two."], ["Again."]])
    async with group(kind, monkeypatch, one, two) as client:
        for name in ("one", "two-b"):
            body = {"input": f"hi {name}", "conversation": "c1", "model": name}
            assert (await client.post("/responses", json=body)).json()["status"] == "completed"
        for name in ("one", "two-b"):
            path = f"/agents/{name}/invocations?agent_session_id=c1"
            assert (await client.post(path, json={"input": "more"})).json()["status"] == "completed"

    assert one.calls[-1].transcript == ["user: hi one", "assistant: One.", "user: more"]
    assert two.calls[-1].transcript == ["user: hi two-b", "assistant: Two.", "user: more"]


async def test_what_an_agent_has_stored_does_not_exist_for_another(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PAID.clear()
    one = OfflineChatClient(script=[["Hello."], [call("c1", "pay", to="ann")], ["Done."]])
    async with group(kind, monkeypatch, one, OfflineChatClient(script=[["Never."]] * 9)) as client:
        made = (await client.post("/agents/one/responses", json={"input": "hi"})).json()
        asked = (await client.post("/agents/one/responses", json={"input": "pay", "conversation": "c2"})).json()
        question = asked["output"][-1]
        answer = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        other, own = "/agents/two-b/responses", "/agents/one/responses"
        refused = [
            await client.get(f"{other}/{made['id']}"),
            await client.get(f"{other}/{made['id']}/input_items"),
            await client.post(f"{other}/{made['id']}/cancel"),
            await client.delete(f"{other}/{made['id']}"),
            await client.post(other, json={"input": "more", "previous_response_id": made["id"]}),
            await client.post(other, json={"input": [answer], "previous_response_id": asked["id"]}),
            await client.post(other, json={"input": [{"type": "item_reference", "id": made["output"][0]["id"]}]}),
            await client.get("/agents/two-b/conversations/c2/items"),
        ]
        unanswered = await client.post(other, json={"input": [answer], "conversation": "c2"})
        assert PAID == []
        found = [await client.get(f"{own}/{made['id']}"), await client.get(f"/responses/{made['id']}")]
        done = (await client.post(own, json={"input": [answer], "conversation": "c2"})).json()

    assert [reply.status for reply in refused] == [404] * len(refused)
    assert unanswered.status in (400, 404)
    assert [reply.status for reply in found] == [200, 200]
    assert (done["status"], PAID) == ("completed", ["ann"])


@pytest.mark.parametrize(
    "pair", [("a-b", "a_b"), ("a.b", "a-b"), ("Writer", "writer"), ("x" * 63 + "1", "x" * 63 + "2")]
)
def test_no_two_names_share_a_schema(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def note(dsn: str, *, schema: str) -> None:
        chosen.append(schema)

    monkeypatch.setattr("hostedagent.stores.factory.postgres_stores", note)
    monkeypatch.setenv("HOSTEDAGENT_DSN", "postgresql://nowhere")
    for name in pair:
        maker = stores_maker("postgres", name)
        assert maker is not None
        maker()

    assert len(set(chosen)) == 2 and all(len(schema) <= 63 for schema in chosen)
