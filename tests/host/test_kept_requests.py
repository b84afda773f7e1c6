"""A turn that has ended keeps neither its request nor its context, whatever is still kept of it for a replay."""

import asyncio
import gc
import weakref
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.engine.context import TurnContext
from hostedagent.host import Driver
from hostedagent.identity import Caller
from hostedagent.stores.journals import Journals
from hostedagent.stores.memory import MemoryStore
from hostedagent.testing import InProcessClient, OfflineChatClient, serve

TURNS: dict[str, dict[str, Any]] = {
    "whole": {},
    "streamed": {"stream": True},
    "not stored": {"store": False},
    "background": {"background": True},
    "background, streamed": {"background": True, "stream": True},
}
STEPS = 2_000
"""Steps of the loop in which a turn that has ended lets go of everything."""


async def ended(client: InProcessClient, body: dict[str, Any]) -> None:
    reply = await client.post("/responses", json={"input": "hi", **body})
    if body == TURNS["background"]:
        for _ in range(STEPS):
            if (await client.get(f"/responses/{reply.json()['id']}")).json()["status"] == "completed":
                break


def kept() -> int:
    gc.collect()
    return sum(isinstance(it, TurnContext) for it in gc.get_objects())


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", TURNS)
async def test_no_request_is_kept(kind: str, driver: Driver) -> None:
    before = kept()  # Of tests before this one.
    async with serve(AgentHost(Agent(OfflineChatClient()), driver=driver).app) as client:
        await ended(client, TURNS[kind])

        for _ in range(STEPS):
            await asyncio.sleep(0)
        assert kept() <= before


async def test_a_journal_that_is_deleted_later_keeps_no_request() -> None:
    class Request:
        pass

    request = ContextVar[Request]("request")
    journals = Journals(MemoryStore())

    def end() -> weakref.ref[Request]:
        request.set(it := Request())
        journals.forget_later(Caller(), "caresp_1")
        return weakref.ref(it)

    found = copy_context().run(end)
    gc.collect()

    assert found() is None
    journals.close()
