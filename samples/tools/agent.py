"""Tools of every kind: sync, async, one that returns an image, one that asks whose turn it is."""

import asyncio
import struct
import zlib
from typing import Annotated, Literal

from agent_framework import Agent, Content, tool
from pydantic import Field

from hostedagent import AgentHost, current_turn
from hostedagent.testing import OfflineChatClient

COLORS = {"red": (200, 40, 40), "green": (40, 160, 80), "blue": (40, 80, 200)}


@tool
def add_numbers(
    first: Annotated[float, Field(description="The first number.")],
    second: Annotated[float, Field(description="The second number.")],
) -> str:
    """Add two numbers."""
    return f"{first + second:g}"


@tool
async def look_up_stock(symbol: Literal["CONTOSO", "FABRIKAM"]) -> str:
    """Look up the price of a stock."""
    await asyncio.sleep(0)  # A real one awaits a service here.
    return {"CONTOSO": "12.30 EUR", "FABRIKAM": "45.60 EUR"}[symbol]


@tool
def draw_swatch(color: Literal["red", "green", "blue"]) -> Content:
    """Draw a swatch of a color. The image reaches the model and the caller as an image, not as text."""
    return Content.from_data(data=_png(COLORS[color], size=8), media_type="image/png")


@tool
def show_profile() -> str:
    """Show the profile of the caller."""
    turn = current_turn()
    return (
        f"team {turn.metadata.get('team', 'unknown')}, locale {turn.client_headers.get('x-client-locale', 'unknown')}"
    )


def _png(color: tuple[int, int, int], size: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(color) * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


agent = Agent(
    OfflineChatClient(),
    name="tools",
    instructions="Use the tools.",
    tools=[add_numbers, look_up_stock, draw_swatch, show_profile],
)

if __name__ == "__main__":
    AgentHost(agent).run()
