"""Conversations by real `openai` clients, and what each of them must find true whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from openai import APIError, APIStatusError, AsyncOpenAI

T = TypeVar("T")

ENDED: Final = ("completed", "failed", "incomplete", "cancelled")
TERMINAL: Final = ("response.completed", "response.failed", "response.incomplete")
PATIENCE: Final = 90.0
"""Seconds after which a turn counts as one that is never answered, and one more for each conversation beside it."""

SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between a refused request and the next one: twice as long each time, unless the conversation is busy."""


@dataclass(slots=True)
class Findings:
    """What the clients found.

    Attributes:
        ended: How many turns ended in each way.
        wrong: What must not have happened.
        blocked: Seconds for which requests were refused as busy by nothing that runs, until the first that was not,
            and by what.
        retries: Why requests were sent again.
        paid: The payments that completed turns made.
        told: The turns of which clients were told, with how they ended.
    """

    ended: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    blocked: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    retries: Counter[str] = field(default_factory=Counter[str])
    paid: list[str] = field(default_factory=list[str])
    told: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


BUSY: Final = {
    "Another turn of conversation": "its conversation",
    "is being accepted": "its key",
    "is still being accepted": "its key",
    "is still running": "its own turn",
}
"""What a request that is refused with 409 waits for, by the words of the refusal."""

BLOCKED: Final = ("its conversation", "its key")
"""What must be free at once: the client has no other turn, and the turn of its request does not run."""


class Talk:
    """One conversation of one user.

    Args:
        url: The proxy.
        number: Which.
        findings: Where it reports.
        chance: Decides what kind of turn comes next.
        patience: Seconds after which a turn counts as one that is never answered.
    """

    def __init__(
        self, url: str, number: int, findings: Findings, chance: random.Random, patience: float = PATIENCE
    ) -> None:
        self.user = f"user{number}"
        self._conversation = f"conv_chaos_{number}"
        self._findings = findings
        self._chance = chance
        self._patience = patience
        self._heard: list[str] = []
        self._refusals: Counter[str] = Counter()
        self._client = AsyncOpenAI(
            base_url=url,
            api_key="unused",
            max_retries=0,
            timeout=20,
            default_headers={"x-agent-user-id": self.user},
        )

    async def run(self, turns: int, goes_on: Callable[[], bool]) -> None:
        """Have so many turns, one after the other, and begin none when it is over."""
        kinds = (self._plain, self._streamed, self._followed, self._polled, self._paid, self._asked, self._cancelled)
        for number in range(turns):
            if not goes_on():
                return
            kind = self._chance.choice(kinds)
            token = f"{self.user}-{number}-{kind.__name__[1:]}"
            self._refusals.clear()
            try:
                async with asyncio.timeout(self._patience):
                    await kind(token)
            except APIStatusError as error:
                self._wrong(f"{token} was refused: {error.message}")
            except TimeoutError:
                refused = ", ".join(f"{why} {count}" for why, count in self._refusals.most_common())
                self._wrong(f"{token} was not answered within {self._patience:g} s; refused: {refused or 'never'}")

    async def check_again(self) -> None:
        """See that every turn is still what its client was told, and close the client."""
        async with self._client:
            for response_id, (user, status) in self._findings.told.items():
                if user == self.user:
                    response = await self._insist(lambda: self._responses.retrieve(response_id))  # noqa: B023
                    if response.status != status:
                        self._wrong(f"{response_id} was {status}, and is {response.status} now")

    @property
    def _responses(self) -> Any:
        """What the client calls; its overloads know no mappings of arguments."""
        return self._client.responses

    async def _plain(self, token: str) -> None:
        self._take(token, await self._create(f"say {token}"))

    async def _streamed(self, token: str) -> None:
        key = str(uuid.uuid4())

        async def read() -> dict[str, Any]:
            stream = await self._responses.create(
                **self._body(f"say {token}"), stream=True, extra_headers={"Idempotency-Key": key}
            )
            events = [event.to_dict() async for event in stream]
            self._check(token, events)
            return events[-1]["response"]

        self._take(token, await self._insist(read))

    async def _followed(self, token: str) -> None:
        self._take(token, await self._follow(token, "say"))

    async def _polled(self, token: str) -> None:
        response = await self._create(f"say {token}", background=True)
        self._take(token, await self._wait(response["id"]))

    async def _paid(self, token: str) -> None:
        response = await self._follow(token, "pay")
        self._take(token, response)
        if response["status"] == "completed":
            self._findings.paid.append(token)

    async def _asked(self, token: str) -> None:
        response = await self._follow(token, "transfer")
        questions = [item for item in response["output"] if item["type"] == "mcp_approval_request"]
        if response["status"] != "completed" or len(questions) != 1:
            self._wrong(f"{token} asked {len(questions)} questions and is {_end(response)}")
            return
        self._heard.append(token)
        said = {"type": "mcp_approval_response", "approval_request_id": questions[0]["id"], "approve": True}
        answered = await self._create([said], background=True)
        response = await self._wait(answered["id"])
        self._tell(response)
        if response["status"] == "completed":
            self._findings.paid.append(token)
            self._compare(token, response, self._heard)
        else:
            self._wrong(f"the answer to the question of {token} is {_end(response)}")

    async def _cancelled(self, token: str) -> None:
        response = await self._create(f"say {token}", background=True)
        await asyncio.sleep(self._chance.uniform(0, 0.5))

        async def cancel() -> None:
            try:
                await self._responses.cancel(response["id"])
            except APIStatusError as error:
                if error.status_code != 400:  # It has ended.
                    raise

        await self._insist(cancel)
        self._take(token, await self._wait(response["id"]), may_be_cancelled=True)

    def _body(self, said: Any) -> dict[str, Any]:
        return {"input": said, "model": "m", "conversation": self._conversation}

    async def _create(self, said: Any, **more: Any) -> dict[str, Any]:
        key = str(uuid.uuid4())

        async def send() -> dict[str, Any]:
            body = {**self._body(said), **more}
            response = await self._responses.create(**body, extra_headers={"Idempotency-Key": key})
            return response.to_dict()

        return await self._insist(send)

    async def _wait(self, response_id: str) -> dict[str, Any]:
        while True:
            response = (await self._insist(lambda: self._responses.retrieve(response_id))).to_dict()
            if response["status"] in ENDED:
                return response
            await asyncio.sleep(0.2)

    async def _follow(self, token: str, verb: str) -> dict[str, Any]:
        """A background stream, read on from its last event each time that the connection is lost."""
        events: list[dict[str, Any]] = []
        key = str(uuid.uuid4())

        async def read() -> None:
            if not events:
                body = {**self._body(f"{verb} {token}"), "background": True}
                stream = await self._responses.create(**body, stream=True, extra_headers={"Idempotency-Key": key})
            else:
                stream = await self._responses.retrieve(
                    events[0]["response"]["id"], stream=True, starting_after=events[-1]["sequence_number"]
                )
            async for event in stream:
                events.append(event.to_dict())  # noqa: PERF401 - those before a cut are kept
            if not events or events[-1]["type"] not in TERMINAL:
                raise _Cut

        await self._insist(read)
        self._check(token, events)
        last = events[-1]["response"]
        response = await self._wait(events[0]["response"]["id"])
        if [item["id"] for item in last["output"]] != [item["id"] for item in response["output"]]:
            self._wrong(f"{token} ended with other items than are stored")
        return response

    def _check(self, token: str, events: list[dict[str, Any]]) -> None:
        numbers = [event["sequence_number"] for event in events]
        if not events or events[-1]["type"] not in TERMINAL:
            raise _Cut
        if numbers != list(range(len(numbers))):
            gap = next(n for n, number in enumerate(numbers) if n != number)
            self._wrong(f"the stream of {token} has a gap: {numbers[max(0, gap - 3) : gap + 3]}")
        if sum(event["type"] in TERMINAL for event in events) != 1:
            ends = [event["sequence_number"] for event in events if event["type"] in TERMINAL]
            self._wrong(f"the stream of {token} has several ends: {ends}, {_end(events[-1]['response'])}")

    def _take(self, token: str, response: dict[str, Any], *, may_be_cancelled: bool = False) -> None:
        """What a turn ended with."""
        self._tell(response)
        if response["status"] in ("completed", "incomplete"):
            self._compare(token, response, [*self._heard, token])
            self._heard.append(token)
        elif response["status"] not in ENDED:
            self._wrong(f"{token} ended as {response['status']}")
        elif response["status"] == "failed" and response.get("background"):
            self._wrong(f"{token} failed in the background: {_end(response)}")
        elif response["status"] == "cancelled" and not may_be_cancelled:
            self._wrong(f"{token} was cancelled by nobody: {_end(response)}")

    def _tell(self, response: dict[str, Any]) -> None:
        self._findings.ended[response["status"] + (" in background" if response.get("background") else "")] += 1
        self._findings.told[response["id"]] = (self.user, response["status"])

    def _compare(self, token: str, response: dict[str, Any], expected: list[str]) -> None:
        texts = [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]
        try:
            heard = json.loads(texts[-1][texts[-1].index("[") :])
        except (IndexError, ValueError):
            self._wrong(f"{token} is completed, and has no answer: {[item['type'] for item in response['output']]}")
            return
        if heard != expected:
            lost, more = [t for t in expected if t not in heard], [t for t in heard if t not in expected]
            self._wrong(f"{token} does not remember {lost}, and remembers {more}; {len(heard)} of {len(expected)}")
        if foreign := [text for text in heard if not text.startswith(f"{self.user}-")]:
            self._wrong(f"{token} saw what others wrote: {foreign}")

    async def _insist(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send a request until it is answered."""
        busy_since: float | None = None
        blocked_by = ""
        pause = SHORTEST_PAUSE
        while True:
            sent_at, answer, why = time.monotonic(), None, None
            try:
                answer = await send()
            except Exception as error:
                if (why := _reason(error)) is None:
                    raise
            if busy_since is not None and why not in BLOCKED:  # Free when it was sent, however long its turn took.
                self._findings.blocked.append((sent_at - busy_since, blocked_by))
                busy_since = None
            if why is None:
                return cast("T", answer)
            self._findings.retries[why] += 1
            self._refusals[why] += 1
            if why in BLOCKED:
                busy_since, pause = busy_since or time.monotonic(), SHORTEST_PAUSE
                blocked_by = why
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wrong(self, what: str) -> None:
        self._findings.wrong.append(what)


def _end(response: dict[str, Any]) -> str:
    """How a response ended."""
    return f"{response['id']} {response['status']} {response.get('error') or ''}"


class _Cut(Exception):
    """A stream ended before its last event."""


def _reason(error: Exception) -> str | None:
    """Why a request has to be sent again; `None` where it must not be."""
    if isinstance(error, APIStatusError):
        if error.status_code == 409:
            return next((name for words, name in BUSY.items() if words in error.message), None)
        return str(error.status_code) if error.status_code in (429, 500, 502, 503, 504) else None
    # The client has its own copy of httpx, whose errors it lets through while a stream is read.
    is_cut = isinstance(error, APIError | _Cut) or type(error).__module__.startswith("httpx")
    return type(error).__name__ if is_cut else None
