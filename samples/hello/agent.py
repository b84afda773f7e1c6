"""The smallest agent: an offline model that needs no key and no network, and one tool."""

from typing import Literal

from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient

WEATHER = {"Lisbon": "sunny, 24 degrees", "Oslo": "snow, -3 degrees", "Paris": "rain, 12 degrees"}


@tool
def get_weather(city: Literal["Lisbon", "Oslo", "Paris"]) -> str:
    """Get the weather in a city."""
    return WEATHER[city]


agent = Agent(
    OfflineChatClient(),
    name="hello",
    instructions="You are a friendly assistant. Answer in one sentence.",
    tools=[get_weather],
)

if __name__ == "__main__":
    AgentHost(agent).run()
