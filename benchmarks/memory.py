"""Whether a host that serves for long stays as large as it was: resident memory after many streamed, stored turns.

Run: `uv run python benchmarks/memory.py [turns]`

One process, one turn after the other, each a conversation of its own, read to its end. What is stored may take next to
nothing here, so what grows would be something that nobody lets go of. With `--top` it prints where the memory that was
taken after the first thousand turns comes from.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from agent_framework import AgentResponse, AgentResponseUpdate, AgentSession, Content, ResponseStream

from hostedagent import AgentHost
from hostedagent.stores.choice import Stores
from hostedagent.stores.documents import DocumentResponses, MemoryDocuments
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.testing import InProcessClient, serve

TURNS: Final = 10_000
WORDS: Final = 20
BASE: Final = 1_000
"""The number of turns after which everything that is made once has been made."""


class Speaker:
    """An agent that says a few words; it keeps nothing."""

    id = "speaker"
    name: str | None = "speaker"
    description: str | None = None

    def run(self, messages: Any = None, *, stream: bool = False, **_: Any) -> Any:
        async def updates() -> AsyncIterator[AgentResponseUpdate]:
            for _ in range(WORDS):
                yield AgentResponseUpdate(contents=[Content.from_text("word ")], role="assistant")

        return ResponseStream(updates(), finalizer=AgentResponse.from_updates)

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id, service_session_id=service_session_id)


def small_stores() -> Stores:
    return Stores(
        responses=DocumentResponses(MemoryDocuments(max_bytes=256 * 1024)), state=MemoryStateStore(max_entries=64)
    )


def resident() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def turn(client: InProcessClient, n: int) -> None:
    body = {"input": "Say something.", "stream": True, "conversation": f"conv_{n}"}
    async with client.stream("POST", "/responses", json=body) as events:
        await events.until("response.completed")
    await client.idle()


async def measure(turns: int, *, traces: bool) -> None:
    marks = [100, *range(BASE, turns + 1, BASE)]
    found: dict[int, float] = {}
    before: tracemalloc.Snapshot | None = None
    async with serve(AgentHost(Speaker(), stores=small_stores()).app) as client:
        for n in range(1, turns + 1):
            await turn(client, n)
            if n in marks:
                gc.collect()
                found[n] = resident()
                print(f"{n:>7,} turns  {found[n]:8.1f} MiB", flush=True)
            if traces and n == BASE:
                tracemalloc.start(12)
                before = tracemalloc.take_snapshot()
        if before is not None:
            gc.collect()
            for row in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
                print(row)
    last = max(found)
    if last > BASE:
        print(f"ratio {last:,} to {BASE:,}: {found[last] / found[BASE]:.3f}")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    asyncio.run(measure(int(given[0]) if given else TURNS, traces="--top" in sys.argv))
