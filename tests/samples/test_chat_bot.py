"""samples/chat_bot against a fake of the chat service: conversations, refusals, and what became of each answer."""

from __future__ import annotations

import runpy
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.embed import Caller
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply, serve
from tests.samples.server import ROOT

SAMPLE = runpy.run_path(str(ROOT / "samples/chat_bot/bot.py"))
SECRET = {"x-telegram-bot-api-secret-token": "s3cret"}


@dataclass
class Service:
    """The fake: what it was told to send, and whether it is away."""

    sent: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    is_away: bool = False

    async def send(self, chat: str, text: str) -> None:
        if self.is_away:
            raise ConnectionError
        self.sent.append((chat, text))


class Archive:
    name = "archive"

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        self.ids.append(response["id"])
        return None


@asynccontextmanager
async def chatting(
    model: OfflineChatClient, service: Service, **given: Any
) -> AsyncGenerator[tuple[Any, InProcessClient]]:
    bot = SAMPLE["ChatBot"](service.send, "s3cret", **given)
    async with serve(AgentHost(Agent(model), doors=[bot], driver="starlette").app) as http:
        yield bot, http


async def write(bot: Any, http: InProcessClient, chat: int, text: str) -> Reply:
    update = {"update_id": 1, "message": {"message_id": 1, "chat": {"id": chat}, "text": text}}
    reply = await http.post("/chat-bot", json=update, headers=SECRET)
    await bot.idle()
    return reply


async def test_each_chat_has_its_conversation() -> None:
    model, service = OfflineChatClient(script=[["One."], ["Two."], ["Three."]]), Service()
    async with chatting(model, service) as (bot, http):
        for chat, text in ((1, "first"), (2, "other"), (1, "second")):
            assert (await write(bot, http, chat, text)).json() == {"ok": True}

    assert service.sent == [("1", "One."), ("2", "Two."), ("1", "Three.")]
    assert model.calls[1].transcript == ["user: other"]
    assert model.calls[2].transcript == ["user: first", "assistant: One.", "user: second"]


async def test_a_service_that_is_away_loses_no_answer() -> None:
    model, service, archive = OfflineChatClient(script=[["One."], ["Two."]]), Service(is_away=True), Archive()
    async with chatting(model, service, also=(archive,), attempts=1) as (bot, http):
        await write(bot, http, 1, "first")
        (report,) = bot.reports
        stored = await http.get(f"/responses/{report.response_id}", headers={"x-agent-user-id": "chat:1"})
        service.is_away = False
        await write(bot, http, 1, "second")

    assert (report.names("failed"), report.names("delivered")) == (["chat 1"], ["archive"])
    assert stored.json()["output"][0]["content"][0]["text"] == "One."
    assert service.sent == [("1", "Two.")] and "assistant: One." in model.calls[1].transcript


async def test_others_than_the_service_are_refused_and_what_is_no_text_is_skipped() -> None:
    service = Service()
    async with chatting(OfflineChatClient(script=[[RuntimeError("secret")]]), service) as (bot, http):
        refused = await http.post("/chat-bot", json={"message": {"text": "hi", "chat": {"id": 1}}})
        joined = await http.post("/chat-bot", json={"message": {"chat": {"id": 1}}}, headers=SECRET)
        await write(bot, http, 1, "fail")

    assert (refused.status, joined.status) == (401, 200)
    assert service.sent == [("1", SAMPLE["FAILED"])]
