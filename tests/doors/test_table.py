"""The table of the doors has a cell for each feature of each door."""

from hostedagent.doors import AgUi, ChatCompletions, Invocations
from tests.doors.table import DOORS, FEATURES


def test_every_door_says_of_every_feature_whether_it_has_it() -> None:
    assert {"Responses", "WebSocket", "`/chat/completions`", "Invocations", "AG-UI", "`Turns`"} == set(DOORS)
    for door, row in DOORS.items():
        assert set(row) == set(FEATURES) and all(row.values()), door


def test_doors_have_different_names() -> None:
    names = [AgUi.name, ChatCompletions.name, Invocations.name, "responses", "websocket", "embed"]
    assert len(set(names)) == len(names)
