"""An agent with the tools of an MCP server. The server gets each caller's own token; it runs here too, in a thread."""

import socket
import threading
from typing import Any

import uvicorn
from agent_framework import Agent
from mcp.server.mcpserver import Context, MCPServer

from hostedagent import AgentHost, McpTools, TurnRequest
from hostedagent.testing import OfflineChatClient

ORDERS = {"Bearer ada-token": ["a lamp", "a chair"], "Bearer grace-token": ["a desk"]}

shop = MCPServer("shop", log_level="WARNING")


@shop.tool()
async def list_orders(context: Context[Any, Any]) -> str:
    """List the orders of the caller."""
    token = (context.headers or {}).get("authorization", "")
    return " and ".join(ORDERS.get(token, [])) or "nothing"


@shop.tool()
async def track_parcel(number: int) -> str:
    """Track a parcel."""
    return f"parcel {number} is on its way"


def serve_in_thread(server: MCPServer) -> str:
    """Start a server on a free port, and give its URL."""
    bound = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning"))
    threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True).start()
    return f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"


def sign(request: TurnRequest) -> dict[str, str]:
    """The token of this turn's caller. A real one comes from where users sign in, by `request.isolation.user`."""
    return {"Authorization": f"Bearer {request.client_headers.get('x-client-name', 'nobody')}-token"}


agent = Agent(
    OfflineChatClient(),
    name="shop",
    instructions="Help with orders.",
    context_providers=[
        McpTools("shop", serve_in_thread(shop), headers=sign),
        McpTools("warehouse", "http://127.0.0.1:9/mcp"),  # Is down: its tools are missing, and nothing else is.
    ],
)

if __name__ == "__main__":
    AgentHost(agent).run()
