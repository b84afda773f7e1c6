"""Token counts under the names of Chat Completions."""

from __future__ import annotations

from typing import Any

import pytest

from hostedagent.doors.chat_completions.chunks import usage_of

COUNTS = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
RENAMED = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, {}),
        ({"input_tokens_details": None, "output_tokens_details": {}}, {}),
        ({"input_tokens_details": {"cached_tokens": 2}}, {"prompt_tokens_details": {"cached_tokens": 2}}),
        ({"output_tokens_details": {"reasoning_tokens": 1}}, {"completion_tokens_details": {"reasoning_tokens": 1}}),
    ],
)
def test_counts_are_renamed_and_details_that_are_missing_left_out(
    details: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert usage_of({"usage": {**COUNTS, **details}}) == {**RENAMED, **expected}


def test_unknown_counts_stay_unknown() -> None:
    assert usage_of({"usage": None}) is None
