"""What the host logs: a caller's mistake is a line, not a stack."""

import logging
from importlib import import_module
from typing import Any

import pytest

from hostedagent.observability import logging as telemetry
from hostedagent.server.limits import RATE_LIMITED, RateLimit, rate_limited_logs
from tests.host.world import hosting


def test_a_callers_mistake_that_the_sdk_finds_is_logged_without_a_stack(caplog: pytest.LogCaptureFixture) -> None:
    telemetry.configure_logging()
    sdk = logging.getLogger("azure.ai.agentserver")
    try:
        raise ValueError("the body")
    except ValueError:
        sdk.exception("Failed to parse/validate create request")

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


@pytest.mark.parametrize(
    ("name", "message", "is_logged"),
    [
        ("azure.ai.agentserver", ("Foundry storage %s %s -> %d", "GET", "/responses/x", 404), False),
        ("azure.ai.agentserver.core", ("Foundry storage %s %s -> %d", "PUT", "/items/x", 412), False),
        ("azure.ai.agentserver.core", ("Foundry storage %s %s -> %d", "POST", "/items", 409), False),
        ("azure.ai.agentserver.core", ("Foundry storage %s %s -> %d", "GET", "/items/x", 500), True),
        ("azure.ai.agentserver", ("Inbound %s %s completed with status %d", "GET", "/x", 404), True),
    ],
)
def test_answers_of_the_storage_that_are_no_mistake_are_not_logged(
    name: str, message: tuple[Any, ...], is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.configure_logging()

    logging.getLogger(name).warning(*message)

    assert bool(caplog.records) is is_logged


def test_lines_that_strangers_cause_are_limited_while_a_server_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def lines(level: int) -> list[int]:
        caplog.clear()
        for name in RATE_LIMITED:
            for number in range(20):
                logging.getLogger(name).log(level, "A request %s was refused", number)
        # asyncio may log a task that an earlier test left.
        ours = [row.name for row in caplog.records if row.msg == "A request %s was refused"]
        return [ours.count(name) for name in RATE_LIMITED]

    with rate_limited_logs():
        assert lines(logging.WARNING) == [5] * len(RATE_LIMITED)
    assert lines(logging.WARNING) == [20] * len(RATE_LIMITED)


def test_the_loggers_that_are_limited_exist() -> None:
    own = [name for name in RATE_LIMITED if name.startswith("hostedagent.")]

    assert all(isinstance(import_module(name).logger, logging.Logger) for name in own)


def test_lines_that_are_no_warning_are_not_counted() -> None:
    limit = RateLimit()

    assert all(limit.filter(logging.LogRecord("x", logging.INFO, "", 0, "a", (), None)) for _ in range(20))


def test_lines_that_differ_do_not_fill_the_memory() -> None:
    limit = RateLimit()

    for number in range(10_000):
        limit.filter(logging.LogRecord("x", logging.WARNING, "", 0, f"a {number}", (), None))

    assert len(vars(limit)["_seen"]) <= 256
