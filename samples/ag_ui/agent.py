"""An agent with a front end of its own, which speaks AG-UI with the protocol's client, `@ag-ui/client`.

npm installs the client beside this file, and a route serves its modules as they are: there is nothing to build.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from agent_framework import Agent, tool
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hostedagent import AgentHost
from hostedagent.doors import AgUi
from hostedagent.testing import OfflineChatClient

FOLDER = Path(__file__).parent
MODULES = Path(os.environ.get("HOSTEDAGENT_AG_UI", FOLDER)) / "node_modules"
WEATHER = {"Lisbon": "sunny, 24 degrees", "Oslo": "snow, -3 degrees", "Paris": "rain, 12 degrees"}


@tool
def get_weather(city: Literal["Lisbon", "Oslo", "Paris"]) -> str:
    """Get the weather in a city."""
    return WEATHER[city]


@tool(approval_mode="always_require")
def send_money(recipient: Literal["Ada", "Grace"], amount: int) -> str:
    """Send an amount of money to a person."""
    return f"sent {amount} euros to {recipient}"


class Modules(StaticFiles):
    """The modules of npm for a browser. Some of them import others without the suffix."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file."""
        return super().lookup_path(path if Path(path).suffix else f"{path}.js")


async def page(request: Request) -> FileResponse:
    """The front end."""
    return FileResponse(FOLDER / "page.html")


def make_host(client: Any = None) -> AgentHost:
    """The host of the agent and of its page.

    Args:
        client: The chat client; by default an offline one.
    """
    agent = Agent(client or OfflineChatClient(), name="front-end", tools=[get_weather, send_money])
    host = AgentHost(agent, doors=[AgUi(resumable=True)], driver="starlette")
    host.app.routes.extend([Route("/", page), Mount("/modules", Modules(directory=MODULES, check_dir=False))])
    return host


if __name__ == "__main__":
    make_host().run(host="127.0.0.1")
