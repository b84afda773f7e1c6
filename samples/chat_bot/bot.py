"""A door that an application writes: the webhook of a chat service such as Telegram.

The service posts what its users write and does not wait for the answer, so the door answers at once, runs the turn, and
pushes the answer to the chat. Each chat is a user of its own, and has one conversation.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from agent_framework import Agent

from hostedagent import AgentHost, RequestError
from hostedagent.doors import DeliveryReport, DeliveryTarget, Door, Entry, Exchange, deliver
from hostedagent.embed import Caller
from hostedagent.identity import IsolationKeys, scope_of
from hostedagent.testing import OfflineChatClient

Send = Callable[[str, str], Awaitable[None]]
"""Sends a text to a chat. Raises where the service is away."""

SECRET_HEADER = "x-telegram-bot-api-secret-token"
FAILED = "That did not work. Please try again."


class WrongSecret(RequestError):
    """Somebody else than the service called."""

    status = 401
    code = "unauthorized"


class ChatBot(Door):
    """The webhook.

    Args:
        send: Sends a text to a chat.
        secret: What the service sends with each update.
        also: Where answers are pushed besides the chat.
        attempts: How often each delivery is tried.
    """

    name = "chat_bot"

    def __init__(self, send: Send, secret: str, *, also: tuple[DeliveryTarget, ...] = (), attempts: int = 3) -> None:
        super().__init__("/chat-bot")
        self.reports: list[DeliveryReport] = []
        self._send = send
        self._secret = secret
        self._also = also
        self._attempts = attempts
        self._turns: set[asyncio.Task[None]] = set()

    def parse(self, fields: Mapping[str, Any], exchange: Exchange) -> Mapping[str, Any]:
        """The text of an update, in the conversation of its chat."""
        message: Mapping[str, Any] = fields["message"]
        return {"input": message["text"], "conversation": f"chat-{message['chat']['id']}"}

    async def serve(self, entry: Entry, exchange: Exchange) -> None:
        """Take note of an update. The service sends one again that is not answered with 200."""
        fields = await entry.fields(exchange)
        if not hmac.compare_digest(exchange.headers.get(SECRET_HEADER, ""), self._secret):
            raise WrongSecret("The secret of the webhook is wrong.")
        message: Mapping[str, Any] = fields.get("message") or {}
        if message.get("text"):  # Pictures, and members that come and go, are not for the agent.
            chat, body = str(message["chat"]["id"]), self.parse(fields, exchange)
            task = asyncio.create_task(self._turn(entry, chat, body))
            self._turns.add(task)
            task.add_done_callback(self._turns.discard)
        await exchange.json({"ok": True})

    async def _turn(self, entry: Entry, chat: str, body: Mapping[str, Any]) -> None:
        caller = Caller(scope_of(IsolationKeys(f"chat:{chat}")), IsolationKeys(f"chat:{chat}"))
        response: Mapping[str, Any]
        try:
            async with entry.turns.begin(body, caller) as turn:
                response = await turn.response()
        except RequestError as error:
            response = {"id": "refused", "status": "failed", "output": [], "error": {"message": error.message}}
        targets = (_Chat(chat, self._send), *self._also)
        self.reports.append(await deliver(response, caller, targets, attempts=self._attempts))

    async def idle(self) -> None:
        """Wait until every answer has been pushed."""
        while self._turns:
            await asyncio.wait(self._turns)

    @asynccontextmanager
    async def lifespan(self, entry: Entry) -> AsyncGenerator[None]:
        """Push the answers of what runs before the host ends."""
        yield
        await self.idle()


class _Chat:
    """One chat as the target of an answer."""

    def __init__(self, chat: str, send: Send) -> None:
        self.name = f"chat {chat}"
        self._chat = chat
        self._send = send

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        messages = (item for item in response["output"] if item["type"] == "message")
        text = "".join(part.get("text", "") for item in messages for part in item["content"])
        if not text and response["status"] == "completed":
            return False  # Nothing to say.
        await self._send(self._chat, text or FAILED)
        return True


async def send_message(chat: str, text: str) -> None:
    """Send a text with the service's API."""
    url = f"{os.environ.get('CHAT_API', 'https://api.telegram.org')}/bot{os.environ['CHAT_TOKEN']}/sendMessage"
    async with (
        aiohttp.ClientSession(raise_for_status=True) as http,
        http.post(url, json={"chat_id": chat, "text": text}),
    ):
        pass


def make_host() -> AgentHost:
    """The host of the bot."""
    bot = ChatBot(send_message, os.environ.get("CHAT_SECRET", "local"))
    return AgentHost(Agent(OfflineChatClient(), name="bot"), doors=[bot], driver="starlette")


if __name__ == "__main__":
    make_host().run()
