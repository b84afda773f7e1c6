"""kill -9 in every phase of a turn: whoever starts next goes on where the last finished turn ended, at once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply, serve
from tests.crash.killing import kill_at

FIRST = ["user: hello", "assistant: re hello"]
TALKS: dict[str, Any] = {"input": "words"}
LOOKS_UP: dict[str, Any] = {"input": "weather"}
ASKS: dict[str, Any] = {"input": "book"}
ANSWERS: dict[str, Any] = {"answers": True}

BEFORE_IT_COUNTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("before lease", TALKS, None),
    ("after lease", TALKS, None),
    ("before write", TALKS, None),
    ("half of write", TALKS, None),
    ("after write", TALKS, None),
    ("run began", TALKS, "response.created"),
    ("in the stream", TALKS, "response.output_text.delta"),
    ("in the tool", LOOKS_UP, None),
    ("after the tool", LOOKS_UP, None),
    ("before approval", ASKS, None),
    ("after approval", ASKS, None),
    ("before commit", TALKS, None),
    ("half of commit", TALKS, None),
    ("before commit", ASKS, "response.output_item.done"),
    ("half of commit", ASKS, None),
]
WHEN_IT_COUNTS: list[tuple[str, dict[str, Any]]] = [("after commit", TALKS), ("response.completed", TALKS)]


@tool(approval_mode="always_require")
def book(city: str) -> str:
    """Book a trip."""
    ran.append(city)
    return f"booked {city}"


@tool
def look_up(city: str) -> str:
    """Look up the weather."""
    raise AssertionError("not here")


ran: list[str] = []


@dataclass(slots=True)
class Restarted:
    """The process that was started in the place of one that was killed."""

    client: InProcessClient
    model: OfflineChatClient

    async def post(self, **fields: Any) -> Reply:
        return await self.client.post("/responses", json=fields)

    async def prompt(self, text: str, **fields: Any) -> list[str]:
        """Say something, and tell what the model saw."""
        reply = await self.post(input=text, **fields)
        assert reply.status == 200, reply.text
        assert reply.json()["status"] == "completed", reply.text
        return self.model.calls[-1].transcript


@asynccontextmanager
async def restarted(root: Path) -> AsyncGenerator[Restarted]:
    ran.clear()
    model = OfflineChatClient(script=["one", "two", "three", "four"])
    async with serve(
        AgentHost(Agent(model, tools=[look_up, book]), stores=sqlite_stores(root / "state.db")).app
    ) as client:
        yield Restarted(client, model)


def ids(row: tuple[Any, ...]) -> str:
    return f"{row[0]}-{row[1].get('input')}"


@pytest.mark.parametrize("phase", BEFORE_IT_COUNTS, ids=ids)
async def test_a_killed_turn_of_a_conversation_leaves_nothing(
    tmp_path: Path, phase: tuple[str, dict[str, Any], str | None]
) -> None:
    place, killed, after = phase
    place_in = {"conversation": "conv_1"}
    kill_at(tmp_path, place, {"input": "hello", **place_in}, {**killed, **place_in}, after=after)

    async with restarted(tmp_path) as host:
        assert await host.prompt("next", **place_in) == [*FIRST, "user: next"]
        assert await host.prompt("last", **place_in) == [*FIRST, "user: next", "assistant: one", "user: last"]
    async with restarted(tmp_path) as host:
        assert len(await host.prompt("again", **place_in)) == 7


@pytest.mark.parametrize("phase", [row for row in BEFORE_IT_COUNTS if "lease" not in row[0]], ids=ids)
async def test_the_response_before_a_killed_turn_can_be_continued(
    tmp_path: Path, phase: tuple[str, dict[str, Any], str | None]
) -> None:
    place, killed, after = phase
    remains = kill_at(tmp_path, place, {"input": "hello"}, {**killed, "continues": True}, after=after)
    first = remains.responses[0]

    async with restarted(tmp_path) as host:
        assert await host.prompt("next", previous_response_id=first) == [*FIRST, "user: next"]


@pytest.mark.parametrize("place", ["run began", "in the stream", "before commit", "half of commit"])
async def test_who_continues_a_killed_turn_continues_what_came_before_it(tmp_path: Path, place: str) -> None:
    turns = {"input": "hello"}, {**TALKS, "continues": True}
    remains = kill_at(tmp_path, place, *turns, after="response.created")

    async with restarted(tmp_path) as host:
        killed = remains.responses[1]
        stored = (await host.client.get(f"/responses/{killed}")).json()
        assert stored["status"] != "completed"
        assert await host.prompt("next", previous_response_id=killed) == [*FIRST, "user: next"]


@pytest.mark.parametrize("phase", WHEN_IT_COUNTS, ids=ids)
@pytest.mark.parametrize("by", ["conversation", "previous_response_id"])
async def test_a_turn_that_was_saved_is_there_once(tmp_path: Path, phase: tuple[str, dict[str, Any]], by: str) -> None:
    place, killed = phase
    if by == "conversation":
        join, more = {"conversation": "conv_1"}, {"conversation": "conv_1"}
    else:
        join, more = {}, {"continues": True}
    remains = kill_at(tmp_path, place, {"input": "hello", **join}, {**killed, **more}, after="response.created")

    async with restarted(tmp_path) as host:
        onward = join or {"previous_response_id": remains.responses[-1]}
        expected = [*FIRST, "user: words", "assistant: re words", "user: next"]
        assert await host.prompt("next", **onward) == expected
        stored = (await host.client.get(f"/responses/{remains.responses[-1]}")).json()

    assert stored["status"] == "completed"


async def test_the_first_turn_of_a_conversation_may_be_the_one_that_was_killed(tmp_path: Path) -> None:
    kill_at(tmp_path, "half of commit", {**TALKS, "conversation": "conv_1"})

    async with restarted(tmp_path) as host:
        assert await host.prompt("next", conversation="conv_1") == ["user: next"]


async def test_a_conversation_survives_one_kill_after_the_other(tmp_path: Path) -> None:
    turn = {"conversation": "conv_1"}
    for place in ("in the stream", "half of commit", "before commit", "after lease"):
        kill_at(tmp_path, place, {"input": "hello", **turn}, {**TALKS, **turn})

    async with restarted(tmp_path) as host:
        assert await host.prompt("next", **turn) == [*FIRST * 4, "user: next"]


def answering(question: str) -> dict[str, Any]:
    return {"input": [{"type": "mcp_approval_response", "approval_request_id": question, "approve": True}]}


@pytest.mark.parametrize("place", ["after commit", "response.completed"])
async def test_a_question_that_was_saved_is_answered_once(tmp_path: Path, place: str) -> None:
    join = {"conversation": "conv_1"}
    remains = kill_at(tmp_path, place, {"input": "hello", **join}, {**ASKS, **join}, after="response.output_item.done")

    async with restarted(tmp_path) as host:
        answered = await host.post(**answering(remains.questions[-1]), **join)
        assert (answered.status, answered.json()["status"]) == (200, "completed"), answered.text
        again = await host.post(**answering(remains.questions[-1]), **join)
        assert 400 <= again.status < 500

    assert ran == ["Oslo"]
    assert host.model.calls[0].transcript[-1] == "tool: <- booked Oslo"


@pytest.mark.parametrize("place", ["before commit", "half of commit"])
async def test_a_question_of_a_killed_turn_is_refused_and_nothing_runs(tmp_path: Path, place: str) -> None:
    join = {"conversation": "conv_1"}
    remains = kill_at(tmp_path, place, {"input": "hello", **join}, {**ASKS, **join}, after="response.output_item.done")

    async with restarted(tmp_path) as host:
        refused = await host.post(**answering(remains.questions[-1]), **join)
        assert refused.status == 404, refused.text
        assert await host.prompt("next", **join) == [*FIRST, "user: next"]

    assert not ran


@pytest.mark.parametrize("place", ["in the tool", "after the tool", "before commit", "half of commit"])
async def test_an_approved_call_does_not_run_again(tmp_path: Path, place: str) -> None:
    join = {"conversation": "conv_1"}
    turns = {"input": "hello", **join}, {**ASKS, **join}, {**ANSWERS, **join}
    remains = kill_at(tmp_path, place, *turns)

    async with restarted(tmp_path) as host:
        refused = await host.post(**answering(remains.questions[-1]), **join)
        assert refused.status == 409, refused.text
        prompt = await host.prompt("next", **join)

    assert (tmp_path / "ran.txt").read_text().split() == ["book"]
    assert not ran
    assert prompt[:2] == FIRST
    assert prompt[-1] == "user: next"
    assert not any("it is done" in line for line in prompt)
