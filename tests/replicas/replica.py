"""A replica in its own process: `python -m tests.replicas.replica DSN SCHEMA`. It prints its address and serves."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Any

from agent_framework import Agent, Content, tool

from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import postgres_stores
from hostedagent.testing import OfflineChatClient

WORDS = 40


@tool
async def note(text: str) -> str:
    """Note something, for all to see."""
    return f"noted {text}"


def answer(messages: Sequence[Any], _: Any) -> list[Any]:
    if messages[-1].role != "tool":
        return [Content.from_function_call("c1", "note", arguments='{"text": "it"}')]
    return [piece for n in range(WORDS) for piece in (f"word{n} ", lambda: asyncio.sleep(0.03))]


def make() -> Agent:
    return Agent(OfflineChatClient(script=[answer] * 4), tools=[note])


def main() -> None:
    dsn, schema = sys.argv[1:]
    host = AgentHost(
        make,
        driver="starlette",
        stores=postgres_stores(dsn, schema=schema),
        options=HostOptions(resilient_background=True, shutdown_grace=0.2),
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    host.run(host="127.0.0.1", port=port, on_listening=lambda: print(url, flush=True))


if __name__ == "__main__":
    main()
