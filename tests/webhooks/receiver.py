"""A receiver of webhooks that does what its script says, and checks every signature with the client of `openai`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, Literal

from aiohttp import web
from openai import OpenAI

from hostedagent import Webhook

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

Answer = int | Literal["hang", "cut", "redirect", "later"]


@dataclass(frozen=True, slots=True)
class Message:
    """What arrived."""

    id: str
    type: str
    response_id: str
    headers: dict[str, str]
    body: str


class Receiver:
    """Takes messages.

    Args:
        answers: What it does with the first ones; it takes all others.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.messages: list[Message] = []
        self.url = ""
        self.redirected = 0
        self.released = asyncio.Event()
        self._answers = list(answers)
        self._changed = asyncio.Condition()
        self._client = OpenAI(api_key="-", webhook_secret=SECRET)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Type and response of each message, in the order of arrival."""
        return [(message.type, message.response_id) for message in self.messages]

    def webhook(self, **given: Any) -> Webhook:
        """A webhook that leads here."""
        values: dict[str, Any] = {"secret": SECRET, "retry_after": (0.01, 0.01, 0.01), **given}
        return Webhook(self.url, **values)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so of what arrived."""
        async with self._changed:
            await self._changed.wait_for(is_so)

    async def count(self, number: int) -> list[Message]:
        """The messages, once there are as many."""
        await self.until(lambda: len(self.messages) >= number)
        return self.messages

    async def take(self, request: web.Request) -> web.Response:
        """Take one message."""
        body = (await request.read()).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        event: Any = self._client.webhooks.unwrap(body, headers)
        assert headers["webhook-id"] == event.id
        async with self._changed:
            answer = self._answers.pop(0) if self._answers else 204
            self.messages.append(Message(event.id, event.type, event.data.id, headers, body))
            self._changed.notify_all()
        if answer == "hang":
            await self.released.wait()
            answer = 204
        if answer == "cut":
            assert request.transport is not None
            request.transport.abort()
            answer = 204
        if answer == "redirect":
            return web.Response(status=307, headers={"location": f"{self.url}/elsewhere"})
        if answer == "later":
            at = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
            return web.Response(status=503, headers={"retry-after": at})
        return web.Response(status=int(answer))

    async def elsewhere(self, _: web.Request) -> web.Response:
        """Where a redirect leads."""
        self.redirected += 1
        return web.Response()


@asynccontextmanager
async def receiving(*answers: Answer) -> AsyncGenerator[Receiver]:
    """A receiver that listens on this machine."""
    receiver = Receiver(answers)
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    app.router.add_post("/hook/elsewhere", receiver.elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
