"""Invocations: an application's JSON on the same engine, on the package's own routes and on the SDK's host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.doors import Invocations
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.doors.test_ag_ui import build
from tests.host.approving import call
from tests.host.sockets import Socket
from tests.stores import opened

ADA = {"x-agent-user-id": "ada"}
BOB = {"x-agent-user-id": "bob"}
Wire = Mapping[str, Any]


@pytest.fixture(params=["agentserver", "starlette"])
def driver(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def hosting(agent: Any, driver: Any, door: Invocations | None = None) -> AsyncGenerator[InProcessClient]:
    async with opened() as (stores, identified):
        app = AgentHost(agent, doors=[door or Invocations()], driver=driver, stores=stores).app
        async with serve(identified(app)) as client:
            yield client


def frames(body: bytes) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in body.decode().strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


async def test_an_invocation_has_an_answer_its_id_and_its_session(driver: str) -> None:
    async with hosting(ScriptedAgent(["Hel", "lo."], ["Again."]), driver) as http:
        made = await http.post("/invocations?agent_session_id=s1", json={"input": "hi"}, headers=ADA)
        named = {**ADA, "x-agent-invocation-id": "inv-1"}
        other = await http.post("/invocations?agent_session_id=s1", json={"message": "hi"}, headers=named)

    answer = made.json()
    assert (made.status, answer["response"], answer["status"], answer["questions"]) == (200, "Hello.", "completed", [])
    assert (made.headers["x-agent-session-id"], answer["conversation"]) == ("s1", "s1")
    assert len(made.headers["x-agent-invocation-id"]) == 36 and other.headers["x-agent-invocation-id"] == "inv-1"


async def test_a_session_is_a_conversation_of_every_door(driver: str) -> None:
    model = OfflineChatClient(script=[["One."], ["Two."], ["Three."], ["Mine."]])
    async with hosting(Agent(model), driver) as http:
        await http.post("/invocations?agent_session_id=s1", json={"input": "first"}, headers=ADA)
        await http.post("/responses", json={"input": "second", "conversation": "s1"}, headers=ADA)
        await http.post("/invocations", json={"input": "third", "conversation": "s1"}, headers=ADA)
        seen = model.calls[-1].transcript
        await http.post("/invocations?agent_session_id=s1", json={"input": "mine"}, headers=BOB)

    assert seen == ["user: first", "assistant: One.", "user: second", "assistant: Two.", "user: third"]
    assert model.calls[-1].transcript == ["user: mine"]


async def test_a_stream_has_deltas_and_one_end(driver: str) -> None:
    agent = ScriptedAgent(["Hel", "lo."], ["Half", RuntimeError("secret")])
    async with hosting(agent, driver) as http:
        body = {"input": "hi", "stream": True}
        made = await http.post("/invocations?agent_session_id=s1", json=body, headers=ADA)
        failed = await http.post("/invocations?agent_session_id=s1", json=body, headers=ADA)

    found = frames(made.body)
    assert made.headers["x-agent-session-id"] == "s1"
    assert "".join(data["text"] for kind, data in found if kind == "delta") == "Hello."
    assert (found[-1][0], found[-1][1]["session_id"], found[-1][1]["status"]) == ("done", "s1", "completed")
    assert (frames(failed.body)[-1][0], frames(failed.body)[-1][1]["status"]) == ("error", 500)
    assert b"secret" not in failed.body


async def test_an_invocation_can_be_read_again_by_its_user_only(driver: str) -> None:
    async with hosting(ScriptedAgent(["Hello."]), driver) as http:
        made = await http.post("/invocations", json={"input": "hi"}, headers=ADA)
        path = f"/invocations/{made.headers['x-agent-invocation-id']}"
        again = await http.get(path, headers=ADA)
        other = await http.get(path, headers=BOB)
        unknown = await http.post("/invocations/none/cancel", headers=ADA)

    assert again.json() == made.json()
    assert (other.status, unknown.status) == (404, 404)


@pytest.mark.parametrize("background", [True, False])
async def test_an_invocation_that_runs_is_seen_and_cancelled(background: bool, driver: str) -> None:
    gate = Gate()
    named = {**ADA, "x-agent-invocation-id": "inv-1"}
    async with hosting(ScriptedAgent(["Hel", gate, "lo."]), driver) as http:
        body = {"input": "hi", "background": background}
        asking = asyncio.create_task(http.post("/invocations", json=body, headers=named))
        await gate.reached()
        running = await http.get("/invocations/inv-1", headers=ADA)
        refused = await http.post("/invocations/inv-1/cancel", headers=BOB)
        ended = await http.post("/invocations/inv-1/cancel", headers=ADA)
        if background:
            assert (await asking).json()["status"] == "in_progress"
        else:
            asking.cancel()
            await asyncio.wait({asking})

    assert (running.json()["status"], refused.status) == ("in_progress", 404)
    assert (ended.status, ended.json()) == (200, {"status": "cancelled"})


async def test_questions_are_asked_and_answered(driver: str) -> None:
    paid: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        paid.append(to)
        return "paid"

    model = OfflineChatClient(script=[[call("c1", "pay", to="ann")], ["Done."]])
    async with hosting(Agent(model, tools=[pay]), driver) as http:
        url = "/invocations?agent_session_id=s1"
        (asked,) = (await http.post(url, json={"input": "pay"}, headers=ADA)).json()["questions"]
        done = await http.post(url, json={"responses": {asked["id"]: True}}, headers=ADA)
    async with hosting(build, driver) as http:
        (wanted,) = (await http.post(url, json={"input": "count"}, headers=ADA)).json()["questions"]
        told = await http.post(url, json={"responses": {wanted["id"]: 4}}, headers=ADA)

    assert (asked["kind"], asked["name"], paid, done.json()["response"]) == ("approval", "pay", ["ann"], "Done.")
    assert (wanted["kind"], told.json()["response"]) == ("call", "5 with mine.")


async def test_an_application_has_its_own_shape(driver: str) -> None:
    def parse(fields: Wire) -> Wire:
        return {"input": fields["question"], "stream": fields.get("live", False)}

    door = Invocations(parse=parse, answer=lambda response: {"said": response["output"][0]["content"][0]["text"]})
    async with hosting(ScriptedAgent(["Hello."]), driver, door) as http:
        made = await http.post("/invocations", json={"question": "hi"}, headers=ADA)
        document = await http.get("/invocations/docs/openapi.json", headers=ADA)

    assert made.json() == {"said": "Hello."} and document.status == 404


async def test_the_default_shape_is_documented(driver: str) -> None:
    async with hosting(ScriptedAgent(), driver) as http:
        document = (await http.get("/invocations/docs/openapi.json", headers=ADA)).json()
        socket = (await http.get("/invocations/docs/asyncapi.json", headers=ADA)).json()
        other = await http.get("/invocations/docs/asyncapi.yaml", headers=ADA)

    assert "input" in str(document["paths"]["/invocations"]["post"]["requestBody"])
    channel = socket["channels"]["invocations"]
    assert channel["address"] == "/invocations_ws"
    assert set(channel["messages"]) == {"invocation", "delta", "question", "done", "error"}
    for operation in socket["operations"].values():
        for reference in operation["messages"]:
            assert reference["$ref"].rpartition("/")[2] in channel["messages"]
    assert (other.status, other.headers["x-platform-error-source"]) == (404, "upstream")


async def test_an_application_documents_its_own_socket_in_yaml(driver: str) -> None:
    door = Invocations(parse=lambda fields: {"input": fields["question"]}, asyncapi="asyncapi: 3.0.0\n")
    async with hosting(ScriptedAgent(), driver, door) as http:
        yaml = await http.get("/invocations/docs/asyncapi.yaml", headers=ADA)
        json_too = await http.get("/invocations/docs/asyncapi.json", headers=ADA)

    assert (yaml.body, yaml.headers["content-type"]) == (b"asyncapi: 3.0.0\n", "application/yaml; charset=utf-8")
    assert json_too.status == 404


async def test_only_the_answer_to_an_invocation_names_its_session(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_AGENT_SESSION_ID", "s1")
    async with hosting(ScriptedAgent(["Hello."]), driver) as http:
        made = await http.post("/invocations", json={"input": "hi"}, headers=ADA)
        path = f"/invocations/{made.headers['x-agent-invocation-id']}"
        replies = [await http.get(path, headers=ADA), await http.post(f"{path}/cancel", headers=ADA)]

    assert made.headers["x-agent-session-id"] == "s1"
    assert [reply.headers.get("x-agent-session-id") for reply in replies] == [None, None]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"inputs": "hi"}, "inputs"),
        ({"input": "hi", "options": {"tools": []}}, "options.tools"),
        ({"input": "hi", "stream": "yes"}, "stream"),
        ({"input": "hi", "responses": [1]}, "responses"),
        ({"input": "hi", "responses": []}, "responses"),
        ({"input": "hi", "options": []}, "options"),
    ],
)
async def test_what_is_no_invocation_is_refused(body: Wire, param: str, driver: str) -> None:
    async with hosting(ScriptedAgent(["Hi."]), driver) as http:
        named = {**ADA, "x-agent-invocation-id": "inv-1"}
        reply = await http.post("/invocations", json=body, headers=named)
        again = await http.post("/invocations", json={"input": "hi"}, headers=named)
        third = await http.post("/invocations", json={"input": "hi"}, headers=named)

    assert (reply.status, reply.json()["error"]["param"], reply.headers["x-agent-invocation-id"]) == (
        400,
        param,
        "inv-1",
    )
    assert (again.status, third.status) == (200, 409)


async def test_a_socket_serves_one_invocation_after_the_other(driver: str) -> None:
    model = OfflineChatClient(script=[["One."], ["Two."]])
    app = AgentHost(Agent(model), doors=[Invocations()], driver=driver).app  # pyright: ignore[reportArgumentType]
    async with serve(app):
        socket = Socket(app, ADA, "/invocations_ws")
        await socket.open()
        socket.send({"input": "first"})
        socket.send({"input": "second"})
        socket.send("{")
        ends = [await socket.until("done", "error") for _ in range(3)]
        await socket.leave()

    assert [event["type"] for event in ends] == ["done", "done", "error"]
    assert ends[2]["status"] == 400 and ends[0]["session_id"] == ends[1]["session_id"]
    assert model.calls[-1].transcript == ["user: first", "assistant: One.", "user: second"]
