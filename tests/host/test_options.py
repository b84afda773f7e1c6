"""`HostOptions`: what cannot work is refused when it is written down, by its name."""

from dataclasses import fields
from typing import Any

import pytest

from hostedagent import ConfigurationError, HostOptions
from hostedagent.agents import pump, source
from hostedagent.server.agentserver import abandonment
from hostedagent.stores import leases

NUMBERS = [row.name for row in fields(HostOptions) if "int" in str(row.type) or "float" in str(row.type)]


def test_the_defaults_can_work() -> None:
    assert HostOptions() == HostOptions()
    assert len(NUMBERS) == 19


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, "3", True, float("nan"), float("inf"), [1]])
def test_a_number_that_cannot_work_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name} is "):
        HostOptions(**{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"max_turns": 0},
        {"max_turns": 1.5},
        {"max_body_bytes": 0},
        {"max_items": None},
        {"run_timeout": 0},
        {"keep_alive": 0.5},
        {"history": "bogus"},
    ],
    ids=str,
)
def test_what_would_refuse_every_request_or_do_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        HostOptions(**values)


@pytest.mark.parametrize(
    "values",
    [{"max_turns": 1}, {"max_turns": None}, {"run_timeout": 0.5}, {"run_timeout": None}, {"keep_alive": 0}],
    ids=str,
)
def test_what_can_work_is_taken(values: dict[str, Any]) -> None:
    (name,) = values
    assert getattr(HostOptions(**values), name) == values[name]


def test_every_limit_has_the_value_that_the_documentation_promises() -> None:
    """Stated here, not imported: a default that changes without a decision would change what a host withstands."""
    options = HostOptions()

    assert {name: getattr(options, name) for name in NUMBERS} == {
        "max_body_bytes": 16 * 1024 * 1024,
        "max_depth": 100,
        "max_values": 250_000,
        "max_items": 10_000,
        "max_parts": 10_000,
        "max_tools": 128,
        "max_include": 64,
        "max_schema_depth": 50,
        "retention": 30 * 86_400.0,
        "max_turns": None,
        "max_waiting": 0,
        "max_queued": 0,
        "max_queued_per_user": None,
        "run_timeout": None,
        "keep_alive": 0,
        "head_timeout": 20.0,
        "body_timeout": 120.0,
        "max_connections": None,
        "shutdown_grace": 8.0,
    }


def test_the_times_after_which_a_turn_is_left_alone_are_what_the_documentation_says() -> None:
    assert (pump.STOP_SECONDS, source.CLOSE_SECONDS, leases.ENDING_SECONDS) == (5.0, 10.0, 6.0)
    assert (leases.LeaseSettings().seconds, leases.LeaseSettings().renew_every) == (60.0, 20.0)
    assert (abandonment.PATIENCE_SECONDS, abandonment.STORING_SECONDS) == (1.0, 10.0)
