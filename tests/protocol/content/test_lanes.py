"""Several things at once: authors, messages, calls and results that interleave, and what ends what."""

from __future__ import annotations

from typing import Any, cast

import pytest
from agent_framework import AgentResponseUpdate, Annotation, Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.protocol.content import BY_CONTENT, CODECS, Codec, Output, Part
from hostedagent.protocol.content.calls import CallItem
from hostedagent.protocol.content.codec import OpenItem, whole
from hostedagent.protocol.content.function_call import OpenCall
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import MutableItem
from tests.protocol.content.harness import RESPONSE_ID, project, update
from tests.protocol.content.wire import lines, log


def text(said: str, author: str | None = None, message: str | None = None, **fields: Any) -> AgentResponseUpdate:
    return update(Content.from_text(said), author_name=author, message_id=message, **fields)


def call(
    arguments: str, call_id: str, author: str | None = None, message: str | None = None, **fields: Any
) -> AgentResponseUpdate:
    content = Content.from_function_call(call_id, "f", arguments=arguments)
    return update(content, author_name=author, message_id=message, **fields)


def result(value: str, call_id: str, **fields: Any) -> AgentResponseUpdate:
    return update(Content.from_function_result(call_id, result=value), role="tool", **fields)


def snapshot(*contents: Content, **fields: Any) -> AgentResponseUpdate:
    return update(*contents, merge_mode="replace", **fields)


def said(steps: list[Any]) -> list[str]:
    """What each item says, in the order of the items; checks the whole stream."""
    projected = project(steps)
    log(projected)
    return [_said(item) for item in projected.items]


def _said(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return " | ".join(part.get("text", "") for part in item["content"])
    return str(item.get("arguments", item.get("output", item["type"])))


def test_two_authors_that_speak_in_turns_keep_a_message_each() -> None:
    assert said([text("a", "A"), text("b", "B"), text("a", "A"), text("b", "B")]) == ["aa", "bb"]


def test_what_one_author_does_does_not_end_what_another_says() -> None:
    steps = [text("a", "A"), call("{}", "1", "B"), text("a", "A")]
    assert said(steps) == ["aa", "{}"]


def test_what_an_author_does_next_ends_what_the_same_author_says() -> None:
    assert said([text("a", "A"), call("{}", "1", "A"), text("b", "A")]) == ["a", "{}", "b"]


def test_the_agents_id_stands_for_a_missing_name() -> None:
    steps = [update(Content.from_text(one), agent_id=one) for one in "abab"]
    assert said(steps) == ["aa", "bb"]


def test_messages_of_one_author_that_interleave_stay_apart() -> None:
    assert said([text("1", "A", "m1"), text("2", "A", "m2"), text("1", "A", "m1")]) == ["11", "2"]


def test_calls_that_interleave_across_authors_stay_apart() -> None:
    steps = [call("{", "1", "A"), call("[", "2", "B"), call("}", "1", "A"), call("]", "2", "B")]
    assert said(steps) == ["{}", "[]"]


def test_a_fragment_without_an_id_belongs_to_the_latest_call_of_its_own_author() -> None:
    steps = [call("{", "1", "A"), call("[", "2", "B"), call("}", "", "A"), call("]", "", "B")]
    assert said(steps) == ["{}", "[]"]


def test_a_tools_result_closes_its_call_whoever_made_it() -> None:
    steps = [call("{}", "c1", "A"), call("[]", "c2", "B"), result("one", "c1")]
    assert lines(*steps)[4:8] == [
        'args= 0 "{}"',
        "item- 0 function_call f call-1 completed",
        "item+ 2 function_call_output call-1 one",
        "item- 2 function_call_output call-1 one completed",
    ]


def test_a_result_leaves_the_calls_of_others_open() -> None:
    steps = [call("{", "1", "A"), call("[]", "2", "B"), result("two", "2"), call("}", "1", "A")]
    assert said(steps) == ["{}", "[]", "two"]


def test_results_may_come_in_another_order_than_the_calls() -> None:
    steps = [call("1", "1"), call("2", "2"), result("two", "2"), result("one", "1")]
    assert said(steps) == ["1", "2", "two", "one"]


def test_the_end_of_a_model_call_ends_its_message_and_its_calls() -> None:
    steps = [text("a", "A", "m"), update(author_name="A", message_id="m", finish_reason="stop"), text("b", "A", "m")]
    assert said(steps) == ["a", "b"]


def test_the_end_of_a_model_call_leaves_other_messages_and_authors_alone() -> None:
    steps = [
        text("a", "A", "m1"),
        text("b", "A", "m2"),
        text("c", "B", "m3"),
        update(author_name="A", message_id="m2", finish_reason="stop"),
        text("a", "A", "m1"),
        text("c", "B", "m3"),
    ]
    assert said(steps) == ["aa", "b", "cc"]


@pytest.mark.parametrize("repeat", [None, '{"a":1}'])
def test_the_repeat_of_a_call_that_is_the_callers_to_run_is_dropped_after_its_end(repeat: str | None) -> None:
    again = Content.from_function_call("1", "f", arguments=repeat)
    again.user_input_request = True
    assert said([call('{"a":1}', "1", finish_reason="tool_calls"), update(again)]) == ['{"a":1}']


def test_a_citation_finds_its_message_after_the_snapshot_that_sealed_it() -> None:
    cited = Content.from_text("", annotations=[Annotation(type="citation", url="https://x", title="X")])
    steps = [Content.from_text("Hi", merge_mode="replace"), cited, text("more")]
    projected = project(steps)
    log(projected)
    first, second = projected.items[0]["content"]
    assert ([a["url"] for a in first["annotations"]], second["text"]) == (["https://x"], "more")


def test_snapshots_of_a_whole_message_that_grow_are_said_once() -> None:
    steps = [snapshot(*(Content.from_text(one) for one in parts)) for parts in (["He"], ["Hello"], ["Hello", "Two"])]
    steps.append(snapshot(Content.from_text("Hello"), Content.from_text("Two!")))
    assert said(steps) == ["Hello | Two!"]


def test_a_second_part_that_begins_like_the_first_is_a_part_of_its_own() -> None:
    one, two = Content.from_text("Hi"), Content.from_text("Hi there")
    assert said([snapshot(one), snapshot(one, two)]) == ["Hi | Hi there"]


def test_what_a_snapshot_repeats_around_a_call_is_said_once() -> None:
    before, after = Content.from_text("a"), Content.from_text("b")
    made = Content.from_function_call("1", "f", arguments="{}")
    steps = [snapshot(before), snapshot(before, made), snapshot(before, made, after)]
    steps.append(snapshot(before, made, Content.from_text("bc")))
    assert said(steps) == ["a", "{}", "bc"]


def test_snapshots_of_two_messages_that_interleave_stay_apart() -> None:
    steps = [
        snapshot(Content.from_text("a"), message_id="1"),
        snapshot(Content.from_text("x"), message_id="2"),
        snapshot(Content.from_text("ab"), message_id="1"),
        snapshot(Content.from_text("xy"), message_id="2"),
    ]
    assert said(steps) == ["ab", "xy"]


def test_a_message_that_says_the_same_as_the_one_before_it_is_said_again() -> None:
    steps = [snapshot(Content.from_text("Hi"), finish_reason="stop"), snapshot(Content.from_text("Hi"))]
    assert said(steps) == ["Hi", "Hi"]


def test_a_content_of_an_unknown_type_is_dropped_and_nothing_breaks() -> None:
    odd: Any = Content.from_text("x")
    odd.type = "hologram"
    assert said([text("a"), update(odd), text("b")]) == ["ab"]


def test_items_without_a_key_are_never_taken_for_repeats() -> None:
    def write(part: Part) -> MutableItem:
        return {"type": "note", "text": part.content.text}

    notes = Codec(family="note", content_types=("text",), open=whole("no", write))
    builder = ResponseBuilder(RESPONSE_ID)
    projection = Projection(Output(builder), {"text": notes})
    # Each content is gone before the next is made, so that the next may get its address.
    events = [event for number in range(20) for event in projection.update(update(Content.from_text(str(number))))]
    assert len(events) == 40


STEPS = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from(["m1", "m2"]), st.text("xyz", min_size=1)), max_size=12
)


@given(STEPS)
def test_however_messages_interleave_each_says_what_its_author_said(steps: list[tuple[str, str, str]]) -> None:
    expected: dict[tuple[str, str], str] = {}
    for author, message, chunk in steps:
        expected[author, message] = expected.get((author, message), "") + chunk
    assert said([text(chunk, author, message) for author, message, chunk in steps]) == list(expected.values())


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=4), st.data())
def test_however_a_snapshot_grows_its_message_is_said_once(parts: list[str], data: st.DataObject) -> None:
    steps: list[AgentResponseUpdate] = []
    for number, part in enumerate(parts):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(part)))) | {len(part)})
        for cut in cuts:
            contents = [*parts[:number], part[:cut]]
            steps.append(snapshot(*(Content.from_text(one) for one in contents)))
    assert said(steps) == [" | ".join(parts)]


@pytest.mark.parametrize(
    "steps",
    [
        [call(arguments, str(n)) for arguments in ("{", "}") for n in range(300)],
        [update(Content("mcp_server_tool_call", call_id=str(n), tool_name="f")) for n in range(300)],
    ],
    ids=["functions", "mcp"],
)
def test_calls_that_run_at_the_same_time_do_not_ask_each_other_whether_they_end(
    steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    for kind in (OpenItem, CallItem, OpenCall):
        ends_before = kind.ends_before

        def counted(self: Any, part: Part, ends_before: Any = ends_before) -> bool:
            asked.append(part)
            return ends_before(self, part)

        monkeypatch.setattr(kind, "ends_before", counted)

    assert len(said(steps)) == 300
    assert len(asked) < 3 * len(steps)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec.open is not None], ids=lambda codec: codec.family)
def test_no_item_ends_before_a_content_that_it_outlasts(codec: Codec) -> None:
    assert codec.open is not None
    for kind in codec.content_types:
        item = codec.open(
            Part(Content(cast("Any", kind), call_id="1", name="f")),
            Output(ResponseBuilder(RESPONSE_ID)),
        )
        for other in item.outlasts if item.outlasts is not None else BY_CONTENT:
            assert not item.ends_before(Part(Content(cast("Any", other), call_id="2", name="f")))
