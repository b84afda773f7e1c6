"""The SDK's own host on the emulator, in process: what a hosted agent does, without ours in between."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from azure.ai.agentserver.responses import FoundryStorageProvider, ResponseEventStream, ResponsesAgentServerHost

from hostedagent.emulator import Emulator, Fault, call_id_for
from hostedagent.testing import InProcessClient, serve


def host_on(provider: FoundryStorageProvider) -> ResponsesAgentServerHost:
    """Answers with the texts of the history."""
    host = ResponsesAgentServerHost(store=provider, configure_observability=None)

    async def answer(request: Any, context: Any, cancellation_signal: asyncio.Event) -> AsyncIterator[Any]:
        stream = ResponseEventStream(response_id=context.response_id, request=request)
        yield stream.emit_created()
        said = [part["text"] for item in await context.get_history() for part in item["content"]]
        for event in stream.output_item_message(f"heard {said}"):
            yield event
        yield stream.emit_completed()

    host.response_handler(answer)
    return host


def as_user(user: str) -> dict[str, str]:
    return {"x-agent-user-id": user, "x-agent-foundry-call-id": call_id_for(user)}


async def turn(client: InProcessClient, user: str, text: str, previous: str | None = None) -> Any:
    body = {"model": "m", "input": text, "previous_response_id": previous}
    return (await client.post("/responses", json=body, headers=as_user(user))).json()


def text_of(response: Any) -> str:
    return response["output"][0]["content"][0]["text"]


async def test_two_chained_turns_and_a_read_go_through_the_emulator(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    async with serve(host_on(provider)) as client:
        first = await turn(client, "alice", "one")
        second = await turn(client, "alice", "two", previous=first["id"])
        assert text_of(second) == "heard ['one', 'heard []']"
        stored = await client.get(f"/responses/{second['id']}", headers=as_user("alice"))
        assert (stored.status, text_of(stored.json())) == (200, text_of(second))
        listed = await client.get(f"/responses/{second['id']}/input_items", headers=as_user("alice"))
        assert len(listed.json()["data"]) == 3
    assert {entry.user for entry in emulator.log} == {"alice"}
    # Whether a turn is stored before or after its handler asks for the history depends on the version of the SDK.
    assert sorted(emulator.log.routes[:6]) == [
        "responses.create",
        "responses.create",
        "responses.history",
        "responses.items",
        "responses.update",
        "responses.update",
    ]


async def test_another_user_finds_nothing_through_the_host(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    async with serve(host_on(provider)) as client:
        first = await turn(client, "alice", "one")
        stolen = await client.get(f"/responses/{first['id']}", headers=as_user("bob"))
        assert stolen.status == 404
        chained = await turn(client, "bob", "two", previous=first["id"])
        assert "error" in chained
        deleted = await client.delete(f"/responses/{first['id']}", headers=as_user("bob"))
        assert deleted.status == 404


async def test_a_fault_reaches_the_client_of_the_host(emulator: Emulator, provider: FoundryStorageProvider) -> None:
    async with serve(host_on(provider)) as client:
        emulator.faults.add(Fault(route="responses.update", kind="status", status=403))
        reply = await client.post("/responses", json={"model": "m", "input": "one"}, headers=as_user("alice"))
        assert reply.status == 500
        assert emulator.faults.unmet == []
