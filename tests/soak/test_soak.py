"""After any load a server is what it was before: no permit, task or descriptor is lost, and nothing stray is logged."""

from pathlib import Path

import pytest

from tests.soak.backends import SUBJECTS, Subject
from tests.soak.load import Outcome, run
from tests.soak.process import MAX_TURNS

SHORT = 240
LONG_SECONDS = 900.0
GROWTH = 1.2
"""Memory at the end, as a share of that at half time: what a leak of a kilobyte in each turn would exceed."""


def judge(outcome: Outcome) -> None:
    assert outcome.errors == []
    assert not {status for status in outcome.statuses if status >= 500}
    assert outcome.left("tasks") <= 0
    assert outcome.left("descriptors") <= 0
    assert outcome.parallel == {200: MAX_TURNS}
    assert outcome.stray == []
    assert outcome.files == []
    assert outcome.code == 0


@pytest.mark.load
@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_a_short_load_leaves_nothing(subject: Subject, tmp_path: Path) -> None:
    judge(run(subject, tmp_path, seed=7, turns=MAX_TURNS, actions=SHORT))


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_a_long_load_leaves_nothing(subject: Subject, tmp_path: Path) -> None:
    outcome = run(subject, tmp_path, seed=8, turns=MAX_TURNS, seconds=LONG_SECONDS)

    judge(outcome)
    if subject.store != "memory":  # Which keeps what it is given.
        assert outcome.after["resident"] < GROWTH * outcome.middle["resident"]
