"""CPU that each door spends on a streamed event, beside `POST /responses`: `python -m benchmarks.doors`.

One process without sockets, so that the doors alone differ: a turn of a thousand pieces, a dozen times for each door in
turn. Exits with 1 where a door's median is more than 15 % above that of Responses.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from hostedagent import AgentHost
from hostedagent.doors import AgUi, Invocations
from hostedagent.testing import ScriptedAgent

EVENTS: Final = 1000
ROUNDS: Final = 12
GOAL: Final = 1.15

_USER: Final = {"id": "m", "role": "user", "content": "hi"}
DOORS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "responses": ("/responses", {"input": "hi", "stream": True}),
    "invocations": ("/invocations", {"input": "hi", "stream": True}),
    "chat": ("/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
    "ag_ui": ("/ag-ui", {"messages": [_USER], "runId": "r"}),
}


async def turn(app: Any, path: str, body: Mapping[str, Any]) -> None:
    """Send one request, and read its answer to the end."""
    given = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> Any:
        return given.pop() if given else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        await asyncio.sleep(0)  # As a socket does: the pieces leave one by one.

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
    }
    head: dict[str, Any] = {
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "state": {},
    }
    await app({**scope, **head}, receive, send)


async def measure() -> dict[str, float]:
    """Microseconds of CPU for each event, by door."""
    host = AgentHost(lambda: ScriptedAgent(["word "] * EVENTS), doors=[AgUi(), Invocations()], driver="starlette")
    found: dict[str, list[float]] = {name: [] for name in DOORS}
    async with host.app.router.lifespan_context(host.app):
        for n in range(ROUNDS):
            for name, (path, body) in DOORS.items():
                conversation = {"threadId" if name == "ag_ui" else "conversation": f"{name}-{n}"}
                began = time.process_time()
                await turn(host.app, path, {**body, **conversation})
                found[name].append((time.process_time() - began) * 1e6 / EVENTS)
    return {name: median(times) for name, times in found.items()}


def main() -> int:
    """Print the table; 1 where a door misses the goal."""
    found = asyncio.run(measure())
    ratios = {name: spent / found["responses"] for name, spent in found.items()}
    for name, spent in found.items():
        print(f"{name:12} {spent:6.1f} us an event, {ratios[name]:.2f} of Responses")
    return int(max(ratios.values()) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
