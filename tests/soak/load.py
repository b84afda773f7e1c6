"""The load of a soak: everything that clients do and should not do, mixed, from a seed.

`run` starts a server, loads it, waits until it is quiet again, and reports what is left. The tests in this folder judge
it; `python -m benchmarks.soak` prints a long one as a table.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.soak.backends import Backend, Subject, backend

PROJECT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
QUIET_SECONDS: Final = 60.0
CLIENTS: Final = 16
CONVERSATIONS: Final = 6
PARTS: Final = 6
MOST_TYPES: Final = 20

EXPECTED: Final = re.compile(
    r"The run of caresp_\w+ failed: RuntimeError at .*scripted\.py|"
    r"WARNING (?:azure\.ai\.agentserver|hostedagent\.server\.exchange) Inbound [A-Z]+ \S+ completed with status 4\d\d "
)
"""The only log lines of a soak: agents that fail, and the line of each driver about a refusal."""

BAD_BODIES: Final[tuple[bytes, ...]] = (
    b"",
    b"{",
    b"[]",
    b'{"input": 7}',
    b'{"input": []}',
    b'{"input": "hi", "tools": 7}',
    b'{"input": "hi", "previous_response_id": "caresp_none"}',
    b'{"input": "hi", "stream": "yes"}',
    b'{"input": [{"type": "no_such_item"}]}',
    b'{"input": "\\ud800"}',
    b'{"input": ' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"input": [{"type": "mcp_approval_response", "approval_request_id": "none", "approve": true}]}',
)
RAW: Final[tuple[bytes, ...]] = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST /responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    b"\x16\x03\x01\x02\x00",
    b"GET /responses/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"POST /resp",
)


@dataclass(slots=True)
class Outcome:
    """What a soak came to.

    Attributes:
        before: The state of the server after it has warmed up.
        parts: The state after each part of the load, once nothing runs any more.
        grown: The types of which the second half of the load left most objects, and how many.
    """

    done: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    before: dict[str, int] = field(default_factory=dict[str, int])
    parts: list[dict[str, int]] = field(default_factory=list[dict[str, int]])
    grown: dict[str, int] = field(default_factory=dict[str, int])
    files: list[str] = field(default_factory=list[str])
    stray: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])
    parallel: Counter[int] = field(default_factory=Counter[int])
    code: int | None = None
    seconds: float = 0.0

    def is_clean(self, turns: int) -> bool:
        """Whether the server is what it was before, and answered every client as it should."""
        return (
            not (self.errors or self.stray or self.files)
            and all(status < 500 for status in self.statuses)
            and self.left("tasks") <= 0
            and self.left("descriptors") <= 0
            and self.parallel == {200: turns}
            and self.code == 0
        )

    @property
    def middle(self) -> dict[str, int]:
        """The state at half time."""
        return self.parts[(len(self.parts) - 1) // 2]

    @property
    def after(self) -> dict[str, int]:
        """The state at the end."""
        return self.parts[-1]

    def left(self, what: str) -> int:
        """How many more of something there are than before."""
        return self.after[what] - self.before[what]


@dataclass(slots=True)
class Client:
    """One client of many."""

    http: httpx.AsyncClient
    chance: random.Random
    outcome: Outcome
    address: tuple[str, int]

    async def act(self) -> None:
        """Do one thing, whatever chance says."""
        name = self.chance.choice(list(ACTIONS))
        try:
            await ACTIONS[name](self)
        except (httpx.HTTPError, ValueError, KeyError, AssertionError) as error:
            self.outcome.errors.append(f"{name}: {error!r}")
        self.outcome.done[name] += 1

    async def post(self, does: str = "talks", **fields: Any) -> httpx.Response:
        body = {"input": "hi", "metadata": {"does": does}, **fields}
        return self.seen(await self.http.post("/responses", json=body))

    def seen(self, reply: httpx.Response) -> httpx.Response:
        self.outcome.statuses[reply.status_code] += 1
        return reply

    async def whole(self) -> None:
        await self.post(self.chance.choice(["talks", "looks up", "fails"]), store=self.chance.random() < 0.5)

    async def streamed(self) -> None:
        does = self.chance.choice(["talks", "talks long", "looks up", "fails"])
        reply = await self.post(does, stream=True, store=self.chance.random() < 0.5)
        assert reply.status_code == 429 or "event: response." in reply.text

    async def hang_up(self) -> None:
        does = self.chance.choice(["talks", "talks long", "hangs"])
        body = {"input": "hi", "metadata": {"does": does}, "stream": True, "store": self.chance.random() < 0.5}
        async with self.http.stream("POST", "/responses", json=body) as reply:
            self.seen(reply)
            read, most = 0, self.chance.choice([1, 500, 3000, 20_000])
            async for chunk in reply.aiter_raw():
                read += len(chunk)
                if read >= most or (does == "hangs" and b"Sun" in chunk):
                    break

    async def background(self) -> None:
        reply = await self.post(self.chance.choice(["talks", "looks up", "fails"]), background=True)
        if reply.status_code == 200:
            await self.ended(reply.json()["id"])

    async def cancel(self) -> None:
        reply = await self.post("hangs", background=True)
        if reply.status_code == 200:
            response_id = reply.json()["id"]
            self.seen(await self.http.post(f"/responses/{response_id}/cancel"))
            await self.ended(response_id)

    async def ended(self, response_id: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                reply = await self.http.get(f"/responses/{response_id}")
                if reply.json()["status"] not in ("queued", "in_progress"):
                    return
                await asyncio.sleep(0.01)

    async def delete(self) -> None:
        reply = await self.post()
        if reply.status_code == 200:
            response_id = reply.json()["id"]
            self.seen(await self.http.delete(f"/responses/{response_id}"))
            assert (await self.http.get(f"/responses/{response_id}")).status_code == 404

    async def delete_a_stream(self) -> None:
        reply = await self.post(stream=True, background=True)
        if found := re.search(r"caresp_\w+", reply.text):
            self.seen(await self.http.delete(f"/responses/{found[0]}"))

    async def replay(self) -> None:
        reply = await self.post(stream=True, background=True)
        if found := re.search(r"caresp_\w+", reply.text):
            self.seen(await self.http.get(f"/responses/{found[0]}", params={"stream": "true"}))

    async def approve(self) -> None:
        reply = await self.post("asks")
        if reply.status_code != 200:
            return
        asked = [row for row in reply.json()["output"] if row["type"] == "mcp_approval_request"]
        answer = {"type": "mcp_approval_response", "approval_request_id": asked[0]["id"], "approve": True}
        last = await self.post("answers", input=[answer], previous_response_id=reply.json()["id"])
        assert last.status_code in (200, 429), last.text

    async def converse(self) -> None:
        await self.post(conversation=f"conv_{self.chance.randrange(CONVERSATIONS)}")

    async def mistake(self) -> None:
        body = self.chance.choice(BAD_BODIES)
        reply = await self.http.post("/responses", content=body, headers={"content-type": "application/json"})
        assert 400 <= self.seen(reply).status_code < 500, reply.text

    async def get_lost(self) -> None:
        path = self.chance.choice(["/responses/caresp_none", "/nowhere", "/responses/x/input_items", "/responses//"])
        assert 400 <= self.seen(await self.http.get(path)).status_code < 500

    async def talk_nonsense(self) -> None:
        _, writer = await asyncio.open_connection(*self.address)
        writer.write(self.chance.choice(RAW))
        await writer.drain()
        writer.close()


ACTIONS: Final[Mapping[str, Callable[[Client], Awaitable[None]]]] = {
    "a whole answer": Client.whole,
    "a stream": Client.streamed,
    "a stream hung up on": Client.hang_up,
    "in the background": Client.background,
    "in the background, cancelled": Client.cancel,
    "deleted": Client.delete,
    "deleted when its stream ends": Client.delete_a_stream,
    "replayed": Client.replay,
    "an approval": Client.approve,
    "a turn of a shared conversation": Client.converse,
    "a bad body": Client.mistake,
    "a wrong path": Client.get_lost,
    "no HTTP": Client.talk_nonsense,
}


@asynccontextmanager
async def _client(url: str, backend: Backend) -> AsyncGenerator[httpx.AsyncClient]:
    hooks = {"request": [backend.identify]}
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, event_hooks=hooks) as http:
        yield http


@dataclass(slots=True)
class Soak:
    """One server, and the load that it gets.

    Args:
        url: Where it listens.
        backend: What it stores in.
        seed: Of chance.
        turns: How many it runs at the same time.
        actions: How many to do; `None` for as many as fit.
        seconds: How long, where no number of actions is given.
        pace: Actions a second at most; `None` for as many as the clients can do.
    """

    url: str
    backend: Backend
    seed: int
    turns: int
    actions: int | None
    seconds: float
    pace: float | None = None

    async def run(self, outcome: Outcome) -> None:
        """Warm up, load in parts, and look each time at what is left."""
        await self._load(CLIENTS * 4, 0.0, Outcome(), "warm")
        await self._fill()  # As many connections of a pool as it has. What is loaded and cached once is there before.
        outcome.before = await self._quiet({"tasks": 0, "descriptors": 0} | await self._state())
        share = None if self.actions is None else self.actions // PARTS
        for part in range(PARTS):
            if part == PARTS // 2:
                outcome.grown = await self._types()
            await self._load(share, self.seconds / PARTS, outcome, f"part {part}")
            outcome.parts.append(await self._quiet(outcome.before))
        now = Counter(await self._types())
        now.subtract(outcome.grown)
        outcome.grown = dict(now.most_common(MOST_TYPES))
        outcome.parallel = await self._fill()

    async def _load(self, actions: int | None, seconds: float, outcome: Outcome, name: str) -> None:
        """So many actions, or as many as fit."""
        began, started = time.monotonic(), 0

        def goes_on() -> bool:
            nonlocal started
            started += 1
            return started <= actions if actions is not None else time.monotonic() - began < seconds

        address = httpx.URL(self.url)
        async with _client(self.url, self.backend) as http:

            async def client(number: int) -> None:
                chance = random.Random(f"{self.seed}/{name}/{number}")
                it = Client(http, chance, outcome, (address.host, address.port or 0))
                while goes_on():
                    if self.pace is not None:
                        await asyncio.sleep(max(0.0, began + started / self.pace - time.monotonic()))
                    await it.act()

            await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        outcome.seconds += time.monotonic() - began

    async def _state(self) -> dict[str, int]:
        async with _client(self.url, self.backend) as http:
            return (await http.get("/soak")).json()

    async def _types(self) -> dict[str, int]:
        async with _client(self.url, self.backend) as http:
            return (await http.get("/soak/types")).json()

    async def _quiet(self, before: Mapping[str, int]) -> dict[str, int]:
        """The state once nothing is left, or what is left after a while."""
        end = time.monotonic() + QUIET_SECONDS
        state = await self._state()
        while time.monotonic() < end and any(state[what] > before[what] for what in ("tasks", "descriptors")):
            await asyncio.sleep(0.2)
            state = await self._state()
        return state

    async def _fill(self) -> Counter[int]:
        """As many turns at once as the host has permits for: one that was not given back would show."""
        body = {"input": "hi", "metadata": {"does": "talks"}}
        async with _client(self.url, self.backend) as http:
            replies = await asyncio.gather(*(http.post("/responses", json=body) for _ in range(self.turns)))
        return Counter(reply.status_code for reply in replies)


def run(
    subject: Subject,
    folder: Path,
    *,
    seed: int,
    turns: int,
    actions: int | None = None,
    seconds: float = 0.0,
    pace: float | None = None,
) -> Outcome:
    """Load a server of its own; returns what it came to."""
    outcome = Outcome()
    asyncio.run(_run(subject, folder, outcome, seed=seed, turns=turns, actions=actions, seconds=seconds, pace=pace))
    return outcome


async def _run(subject: Subject, folder: Path, outcome: Outcome, **load: Any) -> None:
    log, temporary = folder / "log", folder / "tmp"
    temporary.mkdir()
    async with backend(subject.store, folder) as store:
        environment = {**os.environ, **store.environment, "TMPDIR": str(temporary)}
        command = ["-m", "tests.soak.process", subject.driver, *store.arguments]
        with log.open("w") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=errors
            )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            await Soak(url, store, **load).run(outcome)
            process.terminate()
            async with asyncio.timeout(PATIENCE):
                outcome.code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    outcome.files = [str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()]
    lines = log.read_text().splitlines()
    outcome.stray = [line for line in lines if " INFO " not in line and not EXPECTED.search(line)]


def table(outcomes: Mapping[Subject, Outcome]) -> str:
    """The outcomes as a table of Markdown."""
    heads = ("Store", "Driver", "Minutes", "Actions", "5xx", "Errors", "Turns, tasks and descriptors left")
    heads += ("Memory after each sixth, MiB", "Stray lines", "Files left")
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for subject, it in outcomes.items():
        worst = sum(count for status, count in it.statuses.items() if status >= 500)
        permits = it.parallel.total() - it.parallel[200]
        cells = [
            subject.store,
            subject.driver,
            f"{it.seconds / 60:.0f}",
            f"{it.done.total():,}",
            worst,
            len(it.errors),
            f"{permits}, {it.left('tasks')}, {it.left('descriptors')}",
            ", ".join(f"{part['resident'] / 2**20:.0f}" for part in it.parts),
            len(it.stray),
            len(it.files),
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def as_json(outcome: Outcome) -> str:
    """All of an outcome."""
    return json.dumps({name: getattr(outcome, name) for name in Outcome.__slots__}, indent=1)
