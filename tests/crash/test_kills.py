"""kill -9 in a running conversation on sqlite: nothing told is lost, nothing is doubled, the file stays whole."""

from pathlib import Path

import pytest

from tests.crash.kills import Kills, kill_often


def test_ten_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seen = kill_often(tmp_path / "state.db", 10)

    assert seen.wrong == []
    assert seen.kills == 10 and seen.told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seen = kill_often(tmp_path / "state.db", 100, seed=2)

    assert seen.wrong == []
    assert seen.kills == 100 and len(seen.told) > 100


def test_what_must_not_happen_is_noticed() -> None:
    seen = Kills()
    seen.take({"begun": 1})
    seen.take({"told": 1, "heard": ["user: n1"], "answers": 0})
    seen.take({"told": 2, "heard": ["user: n2"], "answers": 0})
    seen.take({"told": 3, "heard": ["user: n1", "user: n1", "user: n2", "user: n3"], "answers": 2})
    seen.take({"failed": {"status": 409}})

    assert [line.split(" ", 2)[0] for line in seen.wrong] == ["turn", "turn", "turn", "a"]
