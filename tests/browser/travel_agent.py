"""A travel agent that keeps approvals, and has a tool that waits until the file `go` stands in the server's folder."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from agent_framework import Agent, Content, Message, ToolApprovalMiddleware, tool

from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import OfflineChatClient

FOLDER = Path.cwd()

PLAN = """Lisbon in two days, without a car:

| Day | Morning | Afternoon |
|---|---|---|
| Saturday | Alfama on foot | Tram 28 to Estrela |
| Sunday | Belém and its tower | A boat on the Tejo |

- Stay in **Baixa**: every line starts there.
- Trams are full after ten, so take the first one.

Shall I look at the weather, or book the tram tour?"""

WEATHER = "**Sunny, 18 °C**, with wind in the evening. Take a light jacket."


class Weather(TypedDict):
    city: str
    sky: str
    celsius: int


@tool
def get_weather(city: Literal["Lisbon"]) -> Weather:
    """Say what the weather is."""
    return {"city": city, "sky": "sunny", "celsius": 18}


@tool
async def write_guide(city: Literal["Lisbon"]) -> str:
    """Write a guide; it takes until the file is there."""
    while not (FOLDER / "go").exists():  # noqa: ASYNC110 - the test has no other way to tell it
        await asyncio.sleep(0.05)
    return f"12 pages about {city}"


@tool(approval_mode="always_require")
def book_tour(tour: Literal["Tram 28", "Boat"], people: int) -> str:
    """Book a tour."""
    return f"{tour} for {people}, Saturday at 9:30"


CALLS: Mapping[str, Mapping[str, object]] = {
    "get_weather": {"city": "Lisbon"},
    "write_guide": {"city": "Lisbon"},
    "book_tour": {"tour": "Tram 28", "people": 2},
}

ORDERS: Mapping[str, Sequence[str]] = {
    "How is the weather?": ["get_weather"],
    "Book the tram for two.": ["book_tour"],
    "Write a guide.": ["write_guide"],
    "Check the weather, then write a guide.": ["get_weather", "write_guide"],
}


def reply(messages: Sequence[Message], options: Mapping[str, object]) -> str | list[Content]:
    """Call the tools that the latest message orders, one after the other, then say what came of it."""
    order = [message for message in messages if message.role == "user"][-1]
    known = [part for message in messages for part in message.contents if part.type == "function_result"]
    new = [part for message in messages[messages.index(order) :] for part in message.contents]
    results = [part for part in new if part.type == "function_result"]
    tools = ORDERS.get(order.text, [])
    if len(results) < len(tools):
        name = tools[len(results)]
        arguments = json.dumps(CALLS[name])
        return [Content.from_function_call(f"call-{len(messages)}", name, arguments=arguments)]
    match order.text, tools[-1:]:
        case _, ["get_weather"]:
            return WEATHER
        case _, ["book_tour"]:
            return f"Booked: {results[-1].result}."
        case _, ["write_guide"]:
            return f"Your guide is ready: {results[-1].result}."
        case "Plan two days in Lisbon.", _:
            return PLAN
        case "Where is this?", _:
            return "A sunset over the sea, seen from **Cabo da Roca**: 40 minutes from Lisbon by train and bus."
        case "No guide, just a packing list.", _:
            return f"For 18 °C and sun: sunglasses, a light jacket, good shoes. ({len(known)} result kept.)"
        case text, _:
            return f"{text} Gladly."


agent = Agent(
    OfflineChatClient(script=[reply] * 40),
    name="travel",
    tools=[get_weather, write_guide, book_tour],
    middleware=[ToolApprovalMiddleware()],
)
host = AgentHost(agent, options=HostOptions(resilient_background=True), stores=sqlite_stores("hostedagent.db"))
