"""One conversation through every door, on every store and driver: what one door asks is answered through the next."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.doors import AgUi, ChatCompletions, Invocations
from hostedagent.emulator import call_id_for
from hostedagent.host import Driver
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.doors.test_ag_ui import build
from tests.doors.ways import WAYS, Said, Way, run_of
from tests.host.approving import call
from tests.stores import KINDS, StoreKind, opened

PLACE = "conv_x"
PIXEL = f"data:image/gif;base64,{b64encode(b'GIF89a').decode()}"
ASKING = ("responses", "websocket", "invocations", "invocations, streamed", "invocations_ws", "ag_ui")
DRIVERS = get_args(Driver)


class Talk:
    """One conversation of a user with a host that has every door."""

    def __init__(self, app: Any, http: InProcessClient) -> None:
        self._app = app
        self._http = http

    async def say(self, door: str, text: str) -> Said:
        """Say something through a door."""
        return await self.send(WAYS[door], WAYS[door].asks(text, PLACE))

    async def send(self, way: Way, body: Mapping[str, Any]) -> Said:
        """Send a body through a door."""
        headers = {USER_ID_HEADER: "ada", CALL_ID_HEADER: call_id_for("ada")}
        status, raw = await way.send(self._app, self._http, body, PLACE, headers)
        assert status == 200, raw
        return way.said(status, raw)

    async def answer(self, door: str, question: str, reply: Any) -> Said:
        """Answer a question through a door."""
        way = WAYS[door]
        match way.door:
            case "Invocations":
                body = {"responses": {question: reply}, "conversation": PLACE, **way.more}
            case "AG-UI":
                payload = {"approved": True} if reply is True else reply
                resume = [{"interruptId": question, "status": "resolved", "payload": payload}]
                body = {**run_of("", PLACE), "messages": [], "resume": resume}
            case _:
                item = {"type": "function_call_output", "call_id": question, "output": json.dumps(reply)}
                if reply is True:
                    item = {"type": "mcp_approval_response", "approval_request_id": question, "approve": True}
                body = {"input": [item], "conversation": PLACE, **way.more}
        return await self.send(way, body)


def asked(said: Said) -> str:
    """The id of the question in an answer."""
    lines = [line.removeprefix("data: ") for line in said.raw.splitlines()]
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return [found for row in rows for found in _questions(row)][-1]


def _questions(value: Any) -> Iterator[str]:
    match value:
        case list():
            for row in cast("list[Any]", value):
                yield from _questions(row)
        case dict():
            fields = cast("dict[str, Any]", value)
            if fields.get("type") == "mcp_approval_request" or fields.get("kind") in ("approval", "call"):
                yield fields["id"]
            elif fields.get("type") == "function_call":
                yield fields["call_id"]
            for row in fields.get("interrupts") or ():
                yield row["id"]
            for row in fields.values():
                yield from _questions(row)
        case _:
            pass


def doors_of(driver: str) -> list[str]:
    """The doors of a driver that can ask."""
    return [door for door in ASKING if driver == "starlette" or door != "websocket"]


def rings(driver: str) -> list[tuple[str, str]]:
    """Each door with the one that answers what it asks."""
    doors = doors_of(driver)
    return list(zip(doors, [*doors[1:], doors[0]], strict=True))


def made(agent: Any, driver: Driver, stores: Any) -> AgentHost:
    return AgentHost(agent, driver=driver, stores=stores, doors=[AgUi(), Invocations(), ChatCompletions()])


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("store", KINDS)
async def test_nothing_is_lost_or_doubled_between_the_doors(store: StoreKind, driver: Driver) -> None:
    paid: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        paid.append(to)
        return f"paid {to}"

    pairs = rings(driver)
    turns = [turn for n in range(len(pairs)) for turn in (call(f"c{n}", "pay", to=f"payee{n}"), [f"Paid {n}."])]
    model = OfflineChatClient(script=[["I see."], *turns, ["The end."]])
    async with opened(store) as (stores, identified):
        app = identified(made(Agent(model, tools=[pay]), driver, stores).app)
        async with serve(app) as http:
            talk = Talk(app, http)
            content = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PIXEL}]
            await talk.send(WAYS["responses"], {"input": [{"role": "user", "content": content}], "conversation": PLACE})
            for n, (asks, answers) in enumerate(pairs):
                question = asked(await talk.say(asks, f"pay {n}"))
                assert (await talk.answer(answers, question, True)).text == f"Paid {n}.", (asks, answers)
            end = await talk.say("chat_completions", "and now?")

    assert (end.text, paid) == ("The end.", [f"payee{n}" for n in range(len(pairs))])
    said = [line for line in model.calls[-1].transcript if not line.startswith("user: data:")]
    texts = [line for line in said if line.startswith(("user: pay", "assistant: Paid"))]
    assert texts == [line for n in range(len(pairs)) for line in (f"user: pay {n}", f"assistant: Paid {n}.")]
    for n in range(len(pairs)):
        assert sum(f"payee{n}" in line for line in said) == 2, said  # The call and its result.
    images = [part for message in model.calls[-1].messages for part in message.contents if part.type == "data"]
    assert [part.uri for part in images] == [PIXEL]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("store", KINDS)
async def test_a_workflows_question_is_answered_through_another_door(store: StoreKind, driver: Driver) -> None:
    async with opened(store) as (stores, identified):
        app = identified(made(build, driver, stores).app)
        async with serve(app) as http:
            talk = Talk(app, http)
            for asks, answers in rings(driver):
                question = asked(await talk.say(asks, "count"))
                assert (await talk.answer(answers, question, 4)).text == "5 with mine.", (asks, answers)
