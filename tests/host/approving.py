"""An agent whose tools ask before they run, and a caller who answers: what the approval tests share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import openai
from agent_framework import Agent, Content, tool

from hostedagent import HostOptions
from hostedagent.stores.factory import Stores
from hostedagent.testing import EventLog, InProcessClient, OfflineChatClient, Reply
from tests.host.world import hosting

Wire: TypeAlias = Mapping[str, Any]
Delivery: TypeAlias = Literal["streamed", "plain", "in the background"]
DELIVERIES: tuple[Delivery, ...] = ("streamed", "plain", "in the background")


def call(call_id: str, name: str, **arguments: Any) -> Content:
    """What the model says to call a tool."""
    return Content.from_function_call(call_id, name, arguments=json.dumps(arguments))


def answer(question: Wire | str, approve: bool = True, **more: Any) -> dict[str, Any]:
    """The caller's answer to a question."""
    item_id = question if isinstance(question, str) else question["id"]
    return {"type": "mcp_approval_response", "approval_request_id": item_id, "approve": approve, **more}


def questions(response: Wire) -> list[Wire]:
    """What a response asks."""
    return [item for item in response["output"] if item["type"] == "mcp_approval_request"]


def kinds(response: Wire) -> list[str]:
    """The types of a response's output."""
    return [item["type"] for item in response["output"]]


@dataclass(slots=True)
class Desk:
    """A caller of a host whose agent has `pay`, which asks first, and `look`, which does not."""

    http: InProcessClient
    api: openai.AsyncOpenAI
    model: OfflineChatClient
    ran: list[str] = field(default_factory=list[str])

    async def turn(self, given: Any, delivery: Delivery = "streamed", **body: Any) -> Wire:
        """One turn of the real client, whichever way it is delivered."""
        create = cast("Any", self.api.responses.create)
        if delivery == "streamed":
            return (await EventLog.collect(await create(model="m", input=given, stream=True, **body))).response
        made = await create(model="m", input=given, background=delivery == "in the background", **body)
        while made.status in ("queued", "in_progress"):
            await asyncio.sleep(0)
            made = await self.api.responses.retrieve(made.id)
        return made.to_dict()

    async def post(self, given: Any, *, headers: Mapping[str, str] | None = None, **body: Any) -> Reply:
        """One request, for those that are refused."""
        return await self.http.post("/responses", json={"input": given, **body}, headers=headers)

    @property
    def shown(self) -> list[str]:
        """What the model saw last."""
        return self.model.calls[-1].transcript


@asynccontextmanager
async def asking(
    *script: Any, options: HostOptions | None = None, stores: Stores | None = None, tools: Sequence[Any] = ()
) -> AsyncGenerator[Desk]:
    """Serve the agent with a script for its model."""
    ran: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(f"pay {to}")
        return f"paid {to}"

    @tool
    def look(city: str) -> str:
        """Look at a city."""
        ran.append(f"look {city}")
        return f"sunny in {city}"

    model = OfflineChatClient(script=[*script])
    agent = Agent(model, tools=[pay, look, *tools])
    async with hosting(agent, options=options, stores=stores) as http, http.openai() as api:
        yield Desk(http, api, model, ran)


def following(response: Wire, by: str) -> dict[str, Any]:
    """The fields that continue a response, by its id or by the conversation `conv_1`."""
    return {"conversation": "conv_1"} if by == "conversation" else {"previous_response_id": response["id"]}


def beginning(by: str) -> dict[str, Any]:
    """The fields of the first turn."""
    return {"conversation": "conv_1"} if by == "conversation" else {}
