"""What every door gets from the host: identity, acceptance, conversations, the end of a client, hooks, telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from agent_framework import Agent

from hostedagent import AgentHost, Cancelled, Hooks, HostOptions, Outcome, TurnRequest
from hostedagent.doors import AgUi, Door, Entry, Exchange, Invocations
from hostedagent.embed import Turns
from hostedagent.errors import InvalidRequest
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent, serve
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
DRIVERS: tuple[Literal["agentserver", "starlette"], ...] = ("agentserver", "starlette")
ADA = {"x-agent-user-id": "ada"}
BOB = {"x-agent-user-id": "bob"}


class Letters(Door):
    """A protocol of letters: `text`, `topic` and `live`."""

    name = "letters"

    def __init__(self, **hooks: Any) -> None:
        super().__init__("/letters", **hooks)
        self.steps: list[str] = []

    def parse(self, fields: Mapping[str, Any], exchange: Exchange) -> Mapping[str, Any]:
        if "text" not in fields:
            raise InvalidRequest("A letter has a text.", param="text")
        body = {"input": fields["text"], "stream": bool(fields.get("live")), "background": bool(fields.get("late"))}
        return {**body, "conversation": fields["topic"]} if "topic" in fields else body

    def answer(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"said": response["output"][0]["content"][0]["text"]}

    @asynccontextmanager
    async def lifespan(self, entry: Entry) -> AsyncGenerator[None]:
        self.steps.append("opened")
        yield
        self.steps.append("closed")


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Literal["agentserver", "starlette"]:
    return request.param


def test_each_door_is_small() -> None:
    doors, samples = ROOT / "src/hostedagent/doors", ROOT / "samples"
    packages = {path.parent for path in doors.glob("*/door.py")}
    lines = {one.name: sum(_lines(path) for path in one.rglob("*.py")) for one in packages}

    assert lines.keys() == {"ag_ui", "chat_completions", "invocations"}
    assert max(lines.values()) < 400 and _lines(samples / "chat_bot/bot.py") < 150, lines


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


async def test_a_door_answers_whole_and_streamed(driver: Any) -> None:
    door = Letters()
    agent = ScriptedAgent(["Hel", "lo."], ["Hel", "lo."])
    async with serve(AgentHost(agent, doors=[door], driver=driver).app) as client:
        whole = await client.post("/letters", json={"text": "hi"}, headers=ADA)
        live = await client.post("/letters", json={"text": "hi", "live": True}, headers=ADA)
        refused = await client.post("/letters", json={}, headers=ADA)

    assert (whole.status, whole.json()) == (200, {"said": "Hello."})
    assert live.headers["content-type"].startswith("text/event-stream") and b"response.completed" in live.body
    assert (refused.status, refused.json()["error"]["param"]) == (400, "text")
    assert door.steps == ["opened", "closed"]


async def test_a_conversation_goes_on_through_another_door_and_belongs_to_one_user(driver: Any) -> None:
    model = OfflineChatClient(script=[["One."], ["Two."], ["Three."], ["Four."]])
    async with serve(AgentHost(Agent(model), doors=[Letters()], driver=driver).app) as client:
        await client.post("/responses", json={"input": "first", "conversation": "conv_x"}, headers=ADA)
        await client.post("/letters", json={"text": "second", "topic": "conv_x"}, headers=ADA)
        await client.post("/responses", json={"input": "third", "conversation": "conv_x"}, headers=ADA)
        seen = model.calls[-1].transcript
        await client.post("/letters", json={"text": "mine", "topic": "conv_x"}, headers=BOB)

    assert seen == ["user: first", "assistant: One.", "user: second", "assistant: Two.", "user: third"]
    assert model.calls[-1].transcript == ["user: mine"]


async def test_a_client_that_leaves_ends_its_turn(driver: Any) -> None:
    gate, ended = Gate(), asyncio.Event()
    outcomes: list[Outcome] = []

    def note(request: TurnRequest, outcome: Outcome) -> None:
        outcomes.append(outcome)
        ended.set()

    host = AgentHost(ScriptedAgent(["Hel", gate]), doors=[Letters()], hooks=Hooks(on_outcome=note), driver=driver)
    async with serve(host.app) as client:
        asking = asyncio.create_task(client.post("/letters", json={"text": "hi"}, headers=ADA))
        await gate.reached()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(PATIENCE):
            await ended.wait()

    assert [type(outcome) for outcome in outcomes] == [Cancelled]


async def test_the_hooks_of_a_door_change_its_turns_and_no_others() -> None:
    def refuse(request: TurnRequest) -> TurnRequest:
        if request.metadata.get("bad"):
            raise InvalidRequest("Not through this door.")
        return replace(request, metadata={"door": request.door})

    def shout(event: dict[str, Any]) -> Any:
        if event["type"] == "response.output_text.delta":
            return [{**event, "delta": event["delta"].upper()}]
        return [] if event["type"] == "response.in_progress" else [event]

    door = Letters(before_run=refuse, transform_event=shout)
    seen: list[TurnRequest] = []
    hooks = Hooks(on_outcome=lambda request, outcome: seen.append(request))
    async with serve(AgentHost(ScriptedAgent(["a"], ["a"]), doors=[door], hooks=hooks, driver="starlette").app) as http:
        through = (await http.post("/letters", json={"text": "hi", "live": True})).body.decode()
        beside = (await http.post("/responses", json={"input": "hi", "stream": True})).body.decode()

    assert '"delta":"A"' in through and "response.in_progress" not in through
    assert '"delta":"a"' in beside and "response.in_progress" in beside
    assert [(one.door, dict(one.metadata)) for one in seen] == [("letters", {"door": "letters"}), ("responses", {})]


@pytest.mark.parametrize(
    ("door", "path", "more"),
    [
        (Invocations, "/invocations", {"input": "hi", "stream": True, "background": True}),
        (Letters, "/letters", {"text": "hi", "live": True, "late": True}),
        (AgUi, "/ag-ui", {"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "user", "content": "hi"}]}),
    ],
)
async def test_what_leaves_through_a_door_later_is_changed_too(door: Any, path: str, more: Any, driver: Any) -> None:
    def shout(event: dict[str, Any]) -> Any:
        return [{**event, "delta": event["delta"].upper()}] if "delta" in event else [event]

    given: dict[str, Any] = {"resumable": True} if door is AgUi else {}
    doors = [door(transform_event=shout, **given)]
    async with serve(AgentHost(ScriptedAgent(["Hello."]), doors=doors, driver=driver).app) as http:
        replies = [await http.post(path, json=more, headers=ADA) for _ in range(2 if door is AgUi else 1)]

    for reply in replies:
        assert reply.status == 200 and '"HELLO."' in reply.text
        assert not any('"Hello."' in line and "delta" in line for line in reply.text.splitlines())


async def test_doors_share_the_limit_of_turns() -> None:
    gate = Gate()
    host = AgentHost(
        ScriptedAgent([gate, "Hi."]), doors=[Letters()], options=HostOptions(max_turns=1), driver="starlette"
    )
    async with serve(host.app) as client:
        first = asyncio.create_task(client.post("/responses", json={"input": "hi"}))
        await gate.reached()
        second = await client.post("/letters", json={"text": "hi"})
        gate.open()
        assert (await first).status == 200

    assert second.status == 429


async def test_an_application_mounts_the_doors_of_its_turns() -> None:
    door = Letters()
    turns = Turns(ScriptedAgent(["Hello."]), doors=[door])
    async with turns, serve(turns.routes()) as client:
        made = await client.post("/letters", json={"text": "hi"})

    assert made.json() == {"said": "Hello."} and door.steps == ["opened", "closed"]
