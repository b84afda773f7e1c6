"""Who answered: the response names the agent as its items do, or as the caller did, and never one that is made up."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Agent

from hostedagent.testing import OfflineChatClient
from tests.host.world import hosting, stream

pytestmark = [
    pytest.mark.usefixtures("driver"),
    pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True),
]
CALLED = {"agent_reference": {"type": "agent_reference", "name": "boss"}}


def agent(name: str | None) -> Any:
    return Agent(OfflineChatClient(script=["Hello."]), name=name)


def names(values: list[Any]) -> list[str | None]:
    return [value["agent_reference"]["name"] if value.get("agent_reference") else None for value in values]


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [("clerk", {}, "clerk"), ("clerk", CALLED, "boss"), (None, CALLED, "boss"), (None, {}, None)],
)
async def test_every_snapshot_and_what_is_stored_name_the_agent(
    name: str | None, fields: dict[str, Any], expected: str | None
) -> None:
    async with hosting(agent(name)) as client:
        log = await stream(client, **fields)
        stored = (await client.get(f"/responses/{log.response['id']}")).json()
        whole = (await client.post("/responses", json={"input": "hi", **fields})).json()

    snapshots = [event["response"] for event in log.events if "response" in event]
    assert set(names([*snapshots, stored, whole])) == {expected}
    assert names(log.items) == names(stored["output"]) == [name or expected]


async def test_what_a_factory_creates_is_named_once_it_exists() -> None:
    async with hosting(lambda: agent("clerk")) as client:
        log = await stream(client)

    snapshots = [event["response"] for event in log.events if "response" in event]
    assert names(snapshots) == [None, None, "clerk"]
