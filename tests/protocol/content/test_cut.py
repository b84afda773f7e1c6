"""Items that were cut off at any event are closed so that the whole fits; no prompt sees what is marked."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Annotation, Content

from hostedagent.protocol.content.parts import REFUSAL
from hostedagent.protocol.stream.interrupted import closing_events, cut_off, is_cut_off
from hostedagent.protocol.transcript.messages import to_messages
from tests.protocol.content.harness import Projected, project
from tests.protocol.content.wire import log

CITED = Annotation(type="citation", url="https://x", title="X", annotated_regions=[])

SAID: dict[str, list[Content]] = {
    "text": [Content.from_text("one "), Content.from_text("two"), Content.from_text("", annotations=[CITED])],
    "refusal": [Content.from_text("no ", additional_properties=dict(REFUSAL)), Content.from_text("then")],
    "reasoning": [Content.from_text_reasoning(text="be"), Content.from_text_reasoning(text="cause")],
    "raw reasoning": [
        Content.from_text_reasoning(text=text, additional_properties={"openai": {"reasoning_text": True}})
        for text in ("be", "cause")
    ],
    "call": [
        Content.from_function_call("c1", "look_up", arguments='{"city": '),
        Content.from_function_call("c1", "", arguments='"Oslo"}'),
        Content.from_function_result("c1", result="sunny"),
    ],
    "code": [
        Content.from_code_interpreter_tool_call(call_id="ci1", inputs=[Content.from_text("1 +")]),
        Content.from_code_interpreter_tool_call(call_id="ci1", inputs=[Content.from_text(" 1")]),
        Content.from_code_interpreter_tool_result(call_id="ci1", outputs=[Content.from_text("2")]),
    ],
    "mcp": [
        Content.from_mcp_server_tool_call("m1", "ask", server_name="docs", arguments='{"q": 1}'),
        Content.from_mcp_server_tool_result("m1", output="answered"),
    ],
    "search": [Content.from_search_tool_call("s1", tool_name="web_search", arguments={"query": "x"})],
}


def cut(events: list[dict[str, Any]]) -> Projected:
    whole = [*events, *closing_events(events)]
    done = {event["output_index"]: event["item"] for event in whole if event["type"] == "response.output_item.done"}
    return Projected(events=whole, items=[done[index] for index in sorted(done)])


@pytest.mark.parametrize("family", SAID)
def test_what_is_cut_off_at_any_event_is_closed(family: str) -> None:
    events = project(SAID[family]).events

    for n in range(len(events) + 1):
        log(cut(events[:n]))


@pytest.mark.parametrize("family", SAID)
def test_nothing_is_added_to_what_is_whole(family: str) -> None:
    assert list(closing_events(project(SAID[family]).events)) == []


def test_what_was_sent_stays() -> None:
    events = project(SAID["text"]).events
    deltas = [n for n, event in enumerate(events) if event["type"].endswith("text.delta")]
    (item,) = cut(events[: deltas[1]]).items

    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "one ")


def test_a_marked_item_is_in_no_prompt() -> None:
    items = project(SAID["call"]).items
    marked = [cut_off(item) for item in items]

    assert [is_cut_off(item) for item in (*items, *marked)] == [False, False, True, True]
    assert len(to_messages(items, (), trusts_roles=False)) == 2
    assert to_messages(marked, (), trusts_roles=False) == []
    assert to_messages((), (), trusts_roles=False, made=marked) == []
