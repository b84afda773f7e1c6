"""A log handler of the application that raises ends neither a turn nor its stream without an end."""

import asyncio
import json
import logging
from collections.abc import Generator
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.host import Driver
from hostedagent.testing import ScriptedAgent, serve


class Raising(logging.Handler):
    """One of a service that cannot be reached."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("hostedagent"):
            raise self.error


@pytest.fixture(params=[OSError("secret-1"), SystemExit(3)], ids=["fails", "exits"])
def handler(request: pytest.FixtureRequest) -> Generator[None]:
    it = Raising(request.param)
    logging.getLogger().addHandler(it)
    yield
    logging.getLogger().removeHandler(it)


async def forever() -> None:
    await asyncio.Event().wait()


AGENTS: dict[str, Any] = {
    "fails": lambda: ScriptedAgent(["before", RuntimeError("secret-1")]),
    "is silent": lambda: ScriptedAgent(["before", forever]),
}


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.usefixtures("handler")
async def test_a_turn_ends_once_although_its_log_line_cannot_be_written(
    agent: str, stream: bool, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    host = AgentHost(AGENTS[agent](), driver=driver, options=HostOptions(run_timeout=0.05))
    async with serve(host.app) as client:
        reply = await client.post("/responses", json={"input": "hi", "stream": stream})

    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    ends = [row["response"] for row in events if "response" in row][-1:] if stream else [reply.json()]
    assert [row["status"] for row in ends] == ["failed"]
    assert [row["type"] for row in events if row["type"] == "response.failed"] == ["response.failed"] * stream
    assert "A line of the log was lost" in capsys.readouterr().err
