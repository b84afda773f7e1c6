"""What a plain turn on the own routes costs, counted: calls do not depend on the machine or its load.

A ceiling is what was counted when it was set, and a little more. Lower it when the way becomes shorter.
"""

import asyncio
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CodeType, FrameType

import pytest
from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.server import exchange
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.patience import PATIENCE

SOURCE = Path(__file__).parents[2] / "src" / "hostedagent"

TURNS = {
    "stored": ({"input": "hi"}, 671, 413, 84),
    "not stored": ({"input": "hi", "store": False}, 582, 368, 77),
    "streamed": ({"input": "hi", "stream": True}, 1_212, 417, 84),
}
"""Of each kind of turn: the body, the most calls, the most functions, and the most modules that they are in."""

HEAVY = (
    *("aiohttp", "azure", "click", "cryptography", "fastapi", "httpx", "hypercorn", "jinja2", "jsonschema", "mcp"),
    *("openai", "opentelemetry.sdk", "psycopg", "requests", "rich", "sqlite3", "tomllib", "yaml"),
    *("hostedagent.agents.compaction", "hostedagent.agents.tokens"),
)
"""What a process that serves the own routes does not need to begin."""


@asynccontextmanager
async def warm(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[InProcessClient]:
    """A client of a host that has served each kind of turn."""
    # A plain turn is over before its client is watched, also where the machine is busy.
    monkeypatch.setattr(exchange, "WATCHED_AFTER_SECONDS", PATIENCE)
    async with serve(AgentHost(Agent(OfflineChatClient()), driver="starlette").app) as client:
        for body, *_ in TURNS.values():
            await client.post("/responses", json=body)
        yield client


def is_ours(code: CodeType) -> bool:
    path = Path(code.co_filename)
    return path.is_relative_to(SOURCE) and not path.is_relative_to(SOURCE / "testing") and code.co_name[0] != "<"


@contextmanager
def calls_of_ours() -> Generator[Counter[CodeType]]:
    """How often each function of ours was called or resumed in the block, without comprehensions and lambdas."""
    calls, seen = Counter[CodeType](), Counter[CodeType]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen[frame.f_code] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        calls.update({code: count for code, count in seen.items() if is_ours(code)})


@pytest.mark.parametrize("kind", TURNS)
async def test_the_way_of_a_plain_turn_stays_short(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body, most_calls, most_functions, most_modules = TURNS[kind]
    async with warm(monkeypatch) as client:
        with calls_of_ours() as calls:
            await client.post("/responses", json=body)

    modules = {code.co_filename for code in calls}
    assert calls.total() <= most_calls
    assert len(calls) <= most_functions
    assert len(modules) <= most_modules


@pytest.mark.parametrize("kind", TURNS)
async def test_a_turn_leaves_nothing_of_ours_to_the_garbage_collector(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with warm(monkeypatch) as client:
        # Of three turns: what tests before this one have left may be freed during any of them, but not during all.
        left = min([await garbage_of_ours(client, TURNS[kind][0]) for _ in range(3)], key=len)

    assert left == []


async def garbage_of_ours(client: InProcessClient, body: Mapping[str, object]) -> list[object]:
    """The objects of ours that a turn leaves to the collector."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await client.post("/responses", json=body)
        for _ in range(5):  # A cancelled task ends in a later step of the loop.
            await asyncio.sleep(0)
        gc.collect()
        return [row for row in gc.garbage if is_of_ours(row)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def is_of_ours(value: object) -> bool:
    if isinstance(value, FrameType):
        return is_ours(value.f_code)
    module = type(value).__module__
    return module.startswith("hostedagent.") and not module.startswith("hostedagent.testing.")


def test_a_process_that_serves_the_own_routes_loads_nothing_that_is_heavy() -> None:
    code = (
        "import sys; from agent_framework import Agent; from hostedagent import AgentHost; "
        "from hostedagent.testing import OfflineChatClient; "
        "AgentHost(Agent(OfflineChatClient()), driver='starlette').app; "
        f"print(sorted(set({HEAVY!r}) & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr
