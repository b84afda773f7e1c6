"""What a factory makes may own resources: it is entered and left, or closed, whatever the end of the turn."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Content

from hostedagent import HostOptions, TurnRequest, current_turn
from hostedagent.testing import Gate, ScriptedAgent
from tests.host.world import begun, hosting, stream, time_limit
from tests.patience import PATIENCE

SECRET = "secret-4711"


class Entered(ScriptedAgent):
    """An agent that is an async context manager, and has no `close`."""

    def __init__(self, *steps: Any, breaks: str = "") -> None:
        super().__init__(list(steps))
        self.tasks: list[object] = []
        self.is_left = asyncio.Event()
        self.breaks = breaks

    async def __aenter__(self) -> None:
        self.tasks.append(asyncio.current_task())
        assert current_turn().response_id
        if self.breaks == "entering":
            raise OSError(SECRET)

    async def __aexit__(self, *error: object) -> None:
        self.tasks.append(asyncio.current_task())
        self.is_left.set()
        if self.breaks == "leaving":
            raise OSError(SECRET)


ENDINGS = pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["ok"], "completed"),
        (["Sun", RuntimeError("no")], "failed"),
        ([Content.from_error(message="no"), "never"], "failed"),
        ([Gate()], "failed"),
    ],
    ids=["success", "failure", "error content", "timeout"],
)


@ENDINGS
@pytest.mark.parametrize("breaks", ["", "leaving"])
async def test_an_agent_that_can_only_be_entered_is_entered_and_left_in_one_task(
    steps: Any, status: str, breaks: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Entered(*steps, breaks=breaks)

    async with hosting(lambda: agent, options=HostOptions(run_timeout=time_limit(steps))) as client:
        log = await stream(client)

    assert log.status == status
    assert len(agent.tasks) == 2 and agent.tasks[0] is agent.tasks[1]
    assert SECRET not in caplog.text


@ENDINGS
async def test_a_factory_may_be_a_context_manager(steps: Any, status: str) -> None:
    said: list[str] = []

    @asynccontextmanager
    async def factory(request: TurnRequest) -> AsyncGenerator[ScriptedAgent]:
        said.append(f"open {request.metadata['who']}")
        yield ScriptedAgent(steps)
        said.append("close")

    async with hosting(factory, options=HostOptions(run_timeout=time_limit(steps))) as client:
        log = await stream(client, metadata={"who": "Ann"})

    assert (log.status, said) == (status, ["open Ann", "close"])


async def test_an_agent_that_cannot_be_entered_fails_the_turn_and_is_not_left(caplog: pytest.LogCaptureFixture) -> None:
    agent = Entered("ok", breaks="entering")

    async with hosting(lambda: agent) as client:
        log = await stream(client)

    assert (log.status, log.response["error"]["code"], len(agent.tasks)) == ("failed", "server_error", 1)
    assert "Closing" not in caplog.text
    assert SECRET not in str(log.events) + caplog.text


async def test_an_agent_is_left_when_the_turn_is_cancelled() -> None:
    gate = Gate()
    agent = Entered("Sun", gate)

    async with hosting(lambda: agent) as client:
        response_id = await begun(client, gate)
        await client.post(f"/responses/{response_id}/cancel")
        async with asyncio.timeout(PATIENCE):
            await agent.is_left.wait()


async def test_an_instance_is_its_owners_to_enter() -> None:
    agent = Entered("ok")

    async with hosting(agent) as client:
        await stream(client)

    assert agent.tasks == []
