"""What the host logs: a caller's mistake is a line, not a stack."""

import logging
from typing import Any

import pytest

from hostedagent.observability import logging as telemetry
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


async def test_what_is_wrong_with_the_developers_own_code_is_said(caplog: pytest.LogCaptureFixture) -> None:
    factory: Any = lambda: None  # noqa: E731

    async with hosting(factory) as client:
        await client.post("/responses", json={"input": "hi"})

    assert "The agent factory returned None. Does it end with return agent?" in caplog.text


def test_what_a_caller_sent_begins_no_line_of_its_own() -> None:
    said = "POST /responses/\nFAKE\r\x1b[31m\x85\u2028 end"
    record = logging.LogRecord("azure.ai.agentserver", logging.INFO, "", 1, "Inbound %s", (said,), None)

    line = telemetry.Lines("%(levelname)s %(message)s").format(record)

    assert line == "INFO Inbound POST /responses/\\x0aFAKE\\x0d\\x1b[31m\\x85\\x2028 end"
