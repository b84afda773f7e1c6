"""Items without a content: the model is told that they happened, briefly, and no type of the SDK is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.protocol.content.passthrough import MAX_DESCRIPTION, PASSTHROUGH
from tests.protocol.content.harness import read


def told(item: dict[str, Any]) -> str | None:
    (content,) = read(item)
    assert content.type == "text"
    return content.text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (
            {"type": "azure_ai_search_call", "call_id": "c", "arguments": '{"query":"x"}', "status": "completed"},
            '[azure_ai_search_call: {"query":"x"}]',
        ),
        (
            {"type": "azure_ai_search_call_output", "call_id": "c", "output": {"documents": [1]}},
            '[azure_ai_search_call_output: {"documents": [1]}]',
        ),
        (
            {"type": "openapi_call", "name": "get_pet", "arguments": '{"id":1}'},
            '[openapi_call: get_pet {"id":1}]',
        ),
        (
            {"type": "a2a_preview_call_output", "name": "peer", "output": [{"type": "text", "text": "done"}]},
            "[a2a_preview_call_output: peer done]",
        ),
        ({"type": "structured_outputs", "output": {"n": 1}}, '[structured_outputs: {"n": 1}]'),
        (
            {"type": "workflow_action", "kind": "InvokeAgent", "action_id": "a1", "status": "completed"},
            "[workflow_action: InvokeAgent a1]",
        ),
        (
            {"type": "memory_search_call", "results": [{"memory_item": {"content": "likes tea"}}]},
            '[memory_search_call: [{"memory_item": {"content": "likes tea"}}]]',
        ),
        ({"type": "memory_search_call", "results": None}, "[memory_search_call]"),
        ({"type": "program", "code": "1+1", "fingerprint": "opaque"}, "[program: 1+1]"),
        ({"type": "program_output", "result": "2"}, "[program_output: 2]"),
        ({"type": "compaction", "encrypted_content": "opaque"}, "[compaction]"),
        ({"type": "additional_tools", "role": "developer", "tools": [{"type": "mcp"}]}, "[additional_tools]"),
    ],
)
def test_an_item_is_told_in_one_line(item: dict[str, Any], text: str) -> None:
    assert told(item) == text


@pytest.mark.parametrize("kind", sorted(PASSTHROUGH.item_types))
def test_an_item_with_nothing_to_tell_is_named(kind: str) -> None:
    assert told({"type": kind}) == f"[{kind}]"


def test_a_long_item_is_cut() -> None:
    text = told({"type": "browser_automation_preview_call_output", "output": "x" * 10 * MAX_DESCRIPTION})
    assert text is not None
    assert text.endswith("x…]")
    assert len(text) < MAX_DESCRIPTION + 50


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)


@given(st.sampled_from(sorted(PASSTHROUGH.item_types)), VALUES, VALUES)
def test_no_item_breaks_the_transcript(kind: str, arguments: object, output: object) -> None:
    text = told({"type": kind, "arguments": arguments, "output": output})
    assert text is not None
    text.encode()
    assert text.startswith(f"[{kind}")
