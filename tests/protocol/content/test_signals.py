"""Usage and errors: effects, never events."""

from __future__ import annotations

import pytest
from agent_framework import Content, UsageDetails

from hostedagent.outcomes import Failed
from hostedagent.protocol.content.signals import SIGNALS
from hostedagent.protocol.types import CountUsage, EndTurn
from tests.protocol.content.harness import project, update

COUNT = UsageDetails(input_token_count=1, output_token_count=2, total_token_count=3)


def test_usage_is_counted_and_not_sent() -> None:
    projected = project([Content.from_usage(COUNT)])
    assert (projected.events, projected.effects) == ([], [CountUsage(COUNT, replaces=False)])


@pytest.mark.parametrize("whole_update", [True, False])
def test_a_snapshot_of_the_usage_replaces_the_count(whole_update: bool) -> None:
    mode = None if whole_update else "replace"
    step = update(Content.from_usage(COUNT, merge_mode=mode), merge_mode="replace" if whole_update else None)
    assert project([step]).effects == [CountUsage(COUNT, replaces=True)]


def test_usage_does_not_end_the_message_that_is_being_spoken() -> None:
    projected = project([Content.from_text("a"), Content.from_usage(COUNT), Content.from_text("b")])
    assert projected.items[0]["content"][0]["text"] == "ab"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("rate_limit_error", "rate_limit_exceeded"),
        ("content_filter", "content_filter"),
        ("who knows", "server_error"),
        (None, "server_error"),
    ],
)
def test_an_error_ends_the_turn_with_a_mapped_code(code: str | None, expected: str) -> None:
    (effect,) = project([Content.from_error(message="secret", error_code=code)]).effects
    assert isinstance(effect, EndTurn)
    assert isinstance(effect.outcome, Failed)
    assert effect.outcome.code == expected


def test_the_text_of_an_error_never_leaves() -> None:
    projected = project([Content.from_error(message="secret", error_code="x", error_details="secret")])
    assert projected.events == []
    assert "secret" not in str(projected.effects)


def test_every_missing_direction_has_a_reason() -> None:
    assert set(SIGNALS.absent) == {"read", "emit", "stream"}
