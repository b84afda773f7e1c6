"""Messages: parts, refusals, citations that come late, snapshots."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Annotation, Content, TextSpanRegion
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from hostedagent.protocol.content.parts import REFUSAL
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, emit, lines, log

URL: dict[str, Any] = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2}
FILE: dict[str, Any] = {"type": "file_citation", "file_id": "f1", "filename": "a.md", "index": 2}
PATH: dict[str, Any] = {"type": "file_path", "file_id": "f1", "index": 2}
CONTAINER: dict[str, Any] = {
    "type": "container_file_citation",
    "container_id": "c1",
    "file_id": "f1",
    "filename": "a.csv",
    "start_index": 0,
    "end_index": 2,
}
CITED = Annotation(type="citation", url="https://x", title="X", annotated_regions=[])


def text(said: str, **fields: Any) -> Content:
    return Content.from_text(said, **fields)


def delta(said: str, **fields: Any) -> Content:
    return text(said, merge_mode="append", **fields)


def whole(said: str, **fields: Any) -> Content:
    return text(said, merge_mode="replace", **fields)


def refusal(said: str, **fields: Any) -> Content:
    return text(said, additional_properties=dict(REFUSAL), **fields)


def output_text(said: str, *annotations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": list(annotations), "logprobs": [], **fields}


def item(*parts: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "status": status, "content": list(parts)}


LOGPROBS: list[Any] = [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]
READ = [
    pytest.param("Hi", ["Hi"], id="a bare string"),
    pytest.param([{"type": "input_text", "text": "Hi"}], ["Hi"], id="input text"),
    pytest.param([output_text("a"), output_text("b")], ["a", "b"], id="two parts"),
    pytest.param([{"type": "refusal", "refusal": "No"}], ["No"], id="refusal"),
    pytest.param([], [], id="nothing"),
]


@pytest.mark.parametrize("item_type", ["message", "output_message"])
@pytest.mark.parametrize(("content", "expected"), READ)
def test_a_message_is_read_part_by_part(item_type: str, content: Any, expected: list[str]) -> None:
    assert [c.text for c in read({"type": item_type, "role": "assistant", "content": content})] == expected


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (None, "content"),
        (1, "content"),
        (["Hi"], "content[0]"),
        ([{"type": "input_text"}], "content[0].text"),
        ([output_text("a"), {"type": "refusal"}], "content[1].refusal"),
    ],
)
def test_a_malformed_message_is_refused_with_the_place(content: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({"type": "message", "role": "user", "content": content})
    assert refused.value.param == param


EMIT = [
    pytest.param([text("Hi")], item(output_text("Hi")), id="text"),
    pytest.param([delta("H"), delta("i"), whole("Hi")], item(output_text("Hi")), id="deltas and their snapshot"),
    pytest.param([whole("a"), delta("b")], item(output_text("a"), output_text("b")), id="text after a snapshot"),
    pytest.param([refusal("No")], item({"type": "refusal", "refusal": "No"}), id="refusal"),
    pytest.param(
        [text("N", additional_properties={"model_output_kind": "refusal"})],
        item({"type": "refusal", "refusal": "N"}),
        id="refusal with the old mark",
    ),
    pytest.param(
        [text("Hi"), refusal("No")], item(output_text("Hi"), {"type": "refusal", "refusal": "No"}), id="text, refusal"
    ),
    pytest.param(
        [text("Hi", additional_properties={"openai": {"logprobs": LOGPROBS}})],
        item(output_text("Hi", logprobs=LOGPROBS)),
        id="logprobs",
    ),
    pytest.param([text("Hi", annotations=[CITED])], item(output_text("Hi", URL)), id="a citation without a region"),
    pytest.param([whole("Hi"), text("", annotations=[CITED])], item(output_text("Hi", URL)), id="late citation"),
    pytest.param(
        [refusal("No"), text("", annotations=[CITED])],
        item({"type": "refusal", "refusal": "No"}, output_text("", {**URL, "end_index": 0})),
        id="a citation after a refusal",
    ),
    pytest.param([text("a\ud800")], item(output_text("a\ufffd")), id="lone surrogate"),
    pytest.param([whole("abc"), whole("abc")], item(output_text("abc")), id="a repeated snapshot"),
    pytest.param([delta("ab"), whole("xy")], item(output_text("ab")), id="a snapshot that contradicts"),
    pytest.param([delta("ab"), whole("abc")], item(output_text("abc")), id="a snapshot that knows more"),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_contents_make_one_message(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


@pytest.mark.parametrize("content", [text(""), delta(""), whole("")])
def test_a_message_that_says_nothing_leaves_no_item(content: Content) -> None:
    assert project([content]).events == []


def test_a_message_streams_with_its_citation_before_the_end() -> None:
    assert lines(delta("H"), delta("i"), whole("Hi"), text("", annotations=[CITED])) == [
        "item+ 0 message",
        "part+ 0.0 output_text",
        'text 0.0 "H"',
        'text 0.0 "i"',
        "note 0.0 url_citation https://x",
        'text= 0.0 "Hi"',
        "part- 0.0 output_text",
        "item- 0 message completed",
    ]


def test_a_refusal_streams_as_a_refusal() -> None:
    assert lines(refusal("N", merge_mode="append"), refusal("No", merge_mode="replace"))[1:-1] == [
        "part+ 0.0 refusal",
        'refusal 0.0 "N"',
        'refusal 0.0 "o"',
        'refusal= 0.0 "No"',
        "part- 0.0 refusal",
    ]


def test_a_citation_with_two_regions_becomes_two() -> None:
    regions = [TextSpanRegion(type="text_span", start_index=n, end_index=n + 1) for n in (0, 1)]
    cited = Annotation(type="citation", url="https://x", annotated_regions=regions)
    (part,) = emit(text("Hi", annotations=[cited]))["content"]
    assert [(a["start_index"], a["end_index"]) for a in part["annotations"]] == [(0, 1), (1, 2)]


def test_a_message_that_is_cut_off_is_incomplete() -> None:
    projected = project([delta("a")], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


def test_the_author_is_named_on_the_item() -> None:
    projected = project([update(text("a"), author_name="writer")])
    assert projected.items[0]["agent_reference"] == {"type": "agent_reference", "name": "writer"}


UNKNOWN: dict[str, Any] = {"type": "place_citation", "place": "x"}
ROUND_TRIP = [item(output_text("Hi", one)) for one in (URL, FILE, PATH, CONTAINER)]


@pytest.mark.parametrize("wire", [*ROUND_TRIP, item(output_text("Hi", logprobs=LOGPROBS))])
def test_a_message_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again(wire) == wire


def test_a_citation_of_an_unknown_type_is_kept() -> None:
    (stored,) = project(read(item(output_text("Hi", UNKNOWN)))).items
    assert stored["content"][0]["annotations"] == [UNKNOWN]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXT, st.booleans())
def test_any_message_survives_the_round_trip(said: str, is_refusal: bool) -> None:
    wire = item({"type": "refusal", "refusal": said} if is_refusal else output_text(said))
    assert again(wire) == wire


@given(st.lists(st.lists(st.text("ab", min_size=1), min_size=1), min_size=1, max_size=4))
def test_deltas_and_their_snapshots_say_every_part_once(parts: list[list[str]]) -> None:
    contents: list[Content] = []
    for number, chunks in enumerate(parts):
        contents += [delta(chunk) for chunk in (f"{number}", *chunks)]
        contents.append(whole(f"{number}{''.join(chunks)}"))
    assert emit(*contents) == item(*(output_text(f"{n}{''.join(chunks)}") for n, chunks in enumerate(parts)))


def test_what_an_agent_says_in_the_users_name_is_kept_and_not_shown() -> None:
    said = [
        update(text("A")),
        update(text("Go on."), role="user"),
        update(text("AA")),
    ]
    items = project(said).items

    assert [item["content"][0]["text"] for item in items] == ["A", "AA"]
    [kept] = items[1]["internal_metadata"]["hostedagent"]["hidden"]
    assert (kept["role"], kept["content"][0]["text"]) == ("user", "Go on.")
