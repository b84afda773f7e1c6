"""An agent that never waits: the others are still served, and it never runs far ahead of its reader."""

from collections.abc import AsyncIterator
from typing import Any

from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream

from hostedagent.testing import ScriptedAgent
from tests.host.world import hosting, stream

MANY = 5000


class Breathless(ScriptedAgent):
    """Says many words without ever giving way."""

    def __init__(self) -> None:
        super().__init__()
        self.said = 0
        self.ended = False

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        for _ in range(MANY):
            self.said += 1
            yield AgentResponseUpdate(contents=[Content.from_text("x")])
        self.ended = True


async def test_an_agent_that_never_waits_does_not_starve_other_requests() -> None:
    agent = Breathless()

    async with hosting(agent) as client:
        started = await client.post("/responses", json={"input": "hi", "background": True})
        ready = await client.get("/readiness")
        refused = await client.post("/responses", json={"input": ""})

        assert (started.status, ready.status, refused.status) == (200, 200, 400)
        assert not agent.ended, "the other requests were served only after the run"


async def test_an_unread_stream_holds_the_agent_back() -> None:
    agent = Breathless()
    body = {"input": "hi", "stream": True, "store": False}

    async with hosting(agent) as client, client.stream("POST", "/responses", json=body) as events:
        await events.until("response.output_text.delta")
        for _ in range(20):
            assert (await client.get("/readiness")).status == 200

        assert agent.said < 200


async def test_every_word_of_a_breathless_agent_arrives() -> None:
    async with hosting(Breathless()) as client:
        assert (await stream(client)).text == "x" * MANY
