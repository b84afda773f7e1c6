"""An agent whose work outlives the request: start it, look at it, follow it, or stop it."""

import asyncio
from typing import Literal

from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient

PAGES = {"short": 3, "long": 300}


@tool
async def write_report(length: Literal["short", "long"]) -> str:
    """Write a report, a page at a time."""
    for _ in range(PAGES[length]):
        await asyncio.sleep(0.1)
    return f"{PAGES[length]} pages"


agent = Agent(
    OfflineChatClient(),
    name="reporter",
    instructions="You write reports.",
    tools=[write_report],
)

if __name__ == "__main__":
    AgentHost(agent).run()
