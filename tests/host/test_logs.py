"""What the host logs: a caller's mistake is a line, not a stack."""

import logging

import pytest

from hostedagent import telemetry
from hostedagent.testing import ScriptedAgent
from tests.host.world import hosting


async def test_a_callers_mistake_that_the_sdk_finds_is_logged_without_a_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry.configure_logging()
    async with hosting(ScriptedAgent()) as client:
        reply = await client.post("/responses", json={"input": "hi", "background": True, "store": False})

    assert reply.status == 400
    found = [record for record in caplog.records if record.getMessage().startswith("Failed to parse")]
    assert [(record.levelno, record.exc_info) for record in found] == [(logging.WARNING, None)]
