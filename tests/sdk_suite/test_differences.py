"""The list of differences is whole: each row says what and why, and the command compares by it."""

from __future__ import annotations

import pytest

from tests.sdk_suite import __main__ as command
from tests.sdk_suite.differences import SUITES, differences, rows
from tests.sdk_suite.running import DRIVERS

DIFFERENCE = {"about", "sdk", "here", "why"}
OPTIONAL = {"drivers", "replaced", "tests"}


@pytest.mark.parametrize("suite", SUITES)
def test_each_row_is_a_difference_with_its_reason_or_not_ours(suite: str) -> None:
    for row in rows(suite):
        assert row.keys() - OPTIONAL in (DIFFERENCE, {"not_ours"}), row
        assert row["tests"] or row.get("replaced"), row
        assert set(row.get("drivers", [])) <= set(DRIVERS)
        assert not [test for test in row["tests"] if "*" in test or "?" in test], "a new failure would match it too"


def test_what_is_not_listed_fails_and_so_does_a_row_whose_tests_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [one for one in differences("invocations", "agentserver") if not one.is_replaced]
    failing = {f"tests/{one.tests[0]}": "failed" for one in listed}

    def compare(outcomes: dict[str, str]) -> int:
        def run(suite: str, driver: str) -> dict[str, str]:
            del suite, driver
            return outcomes

        monkeypatch.setattr(command, "run", run)
        return command.compare("invocations", "agentserver")

    assert compare({**failing, "tests/a.py::test_a": "passed"}) == 0
    assert compare({**failing, "tests/a.py::test_a": "failed"}) == 1
    assert compare({**failing, next(iter(failing)): "passed"}) == 1
    assert "FAILED tests/a.py::test_a" in capsys.readouterr().out
