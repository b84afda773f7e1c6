"""`HostOptions`: what cannot work is refused when it is written down, by its name."""

from dataclasses import fields
from typing import Any

import pytest

from hostedagent import ConfigurationError, HostOptions

NUMBERS = [row.name for row in fields(HostOptions) if "int" in str(row.type) or "float" in str(row.type)]


def test_the_defaults_can_work() -> None:
    assert HostOptions() == HostOptions()
    assert len(NUMBERS) == 17


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
