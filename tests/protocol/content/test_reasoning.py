"""Reasoning items: parts, raw text, the encrypted form, and the way back into a prompt."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from hostedagent.protocol.content.reasoning import seal, unseal
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, emit, lines, log

RAW: dict[str, Any] = {"openai": {"reasoning_text": True}}
PLAIN: dict[str, Any] = {}


def thought(text: str | None, ident: str | None = "rs_p", **fields: Any) -> Content:
    return Content.from_text_reasoning(id=ident, text=text, **fields)


def delta(text: str, ident: str | None = "rs_p", **fields: Any) -> Content:
    return thought(text, ident, merge_mode="append", **fields)


def whole(text: str, ident: str | None = "rs_p", **fields: Any) -> Content:
    return thought(text, ident, merge_mode="replace", **fields)


def sealed(data: str, ident: str | None = "rs_p") -> Content:
    return thought("", ident, protected_data=data, merge_mode="append")


def item(*summary: str, raw: tuple[str, ...] = (), encrypted: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "reasoning", "summary": [{"type": "summary_text", "text": one} for one in summary]}
    if raw:
        found["content"] = [{"type": "reasoning_text", "text": one} for one in raw]
    if encrypted:
        found["encrypted_content"] = encrypted
    return {**found, "status": "completed"}


def sent(*summary: str, encrypted: str, provider_id: str | None = "rs_p") -> dict[str, Any]:
    return item(*summary, encrypted=seal(encrypted, provider_id))


READ = [
    pytest.param(item("a"), [], id="without an encrypted form"),
    pytest.param(
        item("a", "b", encrypted="x"),
        [("rs_1", "a", None, PLAIN), ("rs_1", "b", "x", PLAIN)],
        id="the last one is signed",
    ),
    pytest.param(item("a", encrypted="x"), [("rs_1", "a", "x", PLAIN)], id="text and signature on one content"),
    pytest.param(item(encrypted="x"), [("rs_1", "", "x", PLAIN)], id="only encrypted"),
    pytest.param(
        item("a", raw=("r",), encrypted="x"), [("rs_1", "a", None, PLAIN), ("rs_1", "r", "x", RAW)], id="raw text last"
    ),
]


@pytest.mark.parametrize(("wire", "expected"), READ)
def test_an_item_is_read_in_order(wire: dict[str, Any], expected: list[Any]) -> None:
    contents = read({**wire, "id": "rs_1"})
    assert [(c.id, c.text, c.protected_data, dict(c.additional_properties)) for c in contents] == expected


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ({"summary": "text"}, "summary"),
        ({"summary": [1]}, "summary[0].text"),
        ({"summary": [], "content": [{"type": "reasoning_text"}]}, "content[0].text"),
        ({"summary": [], "encrypted_content": 1}, "encrypted_content"),
        ({"summary": [], "id": 1}, "id"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({"type": "reasoning", **wire})
    assert refused.value.param == param


EMIT = [
    pytest.param([thought("a")], item("a"), id="summary"),
    pytest.param([thought("a", protected_data="x")], sent("a", encrypted="x"), id="text with signature"),
    pytest.param([thought("r", additional_properties=RAW)], item(raw=("r",)), id="raw text"),
    pytest.param([thought("r", additional_properties={"reasoning_text": True})], item(raw=("r",)), id="legacy mark"),
    pytest.param([sealed("x")], sent(encrypted="x"), id="only encrypted"),
    pytest.param([sealed("x"), delta("a")], sent("a", encrypted="x"), id="encrypted first"),
    pytest.param([sealed("x"), delta("a"), sealed("y")], sent("a", encrypted="y"), id="the last encrypted form wins"),
    pytest.param(
        [thought(None, None, protected_data="[1]")], sent(encrypted="[1]", provider_id=None), id="reasoning details"
    ),
    pytest.param(
        [delta("a", None), thought(None, None, protected_data="s")],
        sent("a", encrypted="s", provider_id=None),
        id="anthropic",
    ),
    pytest.param([thought("\ud800")], item("\ufffd"), id="lone surrogate"),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_contents_make_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


@pytest.mark.parametrize("content", [thought(""), thought(None), thought("", None, protected_data="")])
def test_reasoning_of_which_nothing_is_seen_leaves_no_item(content: Content) -> None:
    assert project([content]).events == []


STREAM = [
    pytest.param(
        [delta(""), delta("He"), delta("llo"), whole("Hello"), delta("Two"), whole("Two"), sealed("x")],
        [
            "item+ 0 reasoning",
            "part+ 0.0 summary_text",
            'summary 0.0 "He"',
            'summary 0.0 "llo"',
            'summary= 0.0 "Hello"',
            "part- 0.0 summary_text",
            "part+ 0.1 summary_text",
            'summary 0.1 "Two"',
            'summary= 0.1 "Two"',
            "part- 0.1 summary_text",
            "item- 0 reasoning completed",
        ],
        id="two summary parts as OpenAI sends them",
    ),
    pytest.param(
        [whole("Hello"), whole("Hello")],
        [
            "item+ 0 reasoning",
            "part+ 0.0 summary_text",
            'summary 0.0 "Hello"',
            'summary= 0.0 "Hello"',
            "part- 0.0 summary_text",
            "item- 0 reasoning completed",
        ],
        id="a snapshot without deltas, repeated",
    ),
    pytest.param(
        [delta("s"), delta("r", additional_properties=RAW), whole("raw", additional_properties=RAW)],
        [
            "item+ 0 reasoning",
            "part+ 0.0 summary_text",
            'summary 0.0 "s"',
            'summary= 0.0 "s"',
            "part- 0.0 summary_text",
            "part+ 0.0 reasoning_text",
            'thought 0.0 "r"',
            'thought 0.0 "aw"',
            'thought= 0.0 "raw"',
            "part- 0.0 reasoning_text",
            "item- 0 reasoning completed",
        ],
        id="raw text after a summary",
    ),
]


@pytest.mark.parametrize(("contents", "expected"), STREAM)
def test_reasoning_streams_part_by_part(contents: list[Content], expected: list[str]) -> None:
    assert lines(*contents) == expected


def test_a_snapshot_that_contradicts_what_was_sent_changes_nothing() -> None:
    assert emit(delta("abc"), whole("xyz")) == item("abc")


def test_each_reasoning_id_of_the_provider_is_an_item() -> None:
    projected = project([delta("a", "rs_1"), delta("b", "rs_2"), Content.from_text("hi")])
    log(projected)
    assert [i["type"] for i in projected.items] == ["reasoning", "reasoning", "message"]
    assert [read(i)[0].id for i in projected.items[:2]] == ["rs_1", "rs_2"]


def test_each_signed_thought_without_an_id_is_an_item() -> None:
    projected = project([delta("a", None), sealed("s1", None), delta("b", None), sealed("s2", None)])
    log(projected)
    assert [(i["summary"][0]["text"], unseal(i["encrypted_content"])) for i in projected.items] == [
        ("a", ("s1", None)),
        ("b", ("s2", None)),
    ]


def test_a_thought_without_an_id_may_come_again_after_other_things() -> None:
    projected = project([delta("a", None), Content.from_text("x"), delta("b", None)])
    assert [i["type"] for i in projected.items] == ["reasoning", "message", "reasoning"]


def test_a_repeat_of_a_finished_item_is_dropped() -> None:
    projected = project([whole("a"), Content.from_text("x"), whole("a")])
    assert [i["type"] for i in projected.items] == ["reasoning", "message"]


def test_growing_snapshots_of_a_whole_update_are_said_once() -> None:
    projected = project(
        [
            update(thought("th", None), merge_mode="replace"),
            update(thought("think", None), Content.from_text("He"), merge_mode="replace"),
            update(thought("think", None), Content.from_text("Hello"), merge_mode="replace"),
        ]
    )
    log(projected)
    assert [i["type"] for i in projected.items] == ["reasoning", "message"]
    assert projected.items[0]["summary"] == [{"type": "summary_text", "text": "think"}]
    assert projected.items[1]["content"][0]["text"] == "Hello"


def test_an_item_that_is_cut_off_is_incomplete() -> None:
    projected = project([delta("a")], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


@pytest.mark.parametrize("ident", ["rs_provider", None])
def test_what_the_provider_called_it_comes_back_from_the_store(ident: str | None) -> None:
    (stored,) = project([delta("a", ident), sealed("x", ident)]).items
    (content,) = read(stored)
    assert (content.id, content.text, content.protected_data) == (ident, "a", "x")


def test_the_name_the_provider_gave_is_not_shown() -> None:
    (stored,) = project([delta("a", "rs_provider")]).items
    assert "rs_provider" not in str({k: v for k, v in stored.items() if k != "internal_metadata"})


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3)


@given(TEXTS, TEXTS, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.none() | st.text("ab_: %"))
def test_an_item_that_was_read_and_sent_is_the_same(
    summary: list[str], raw: list[str], encrypted: str, provider_id: str | None
) -> None:
    wire = item("".join(summary), raw=("".join(raw),) if raw else (), encrypted=seal(encrypted, provider_id))
    if not summary:
        wire["summary"] = []
    assert again({**wire, "id": "rs_1"}) == wire


@given(st.lists(st.lists(st.text("ab", min_size=1), min_size=1), min_size=1, max_size=4))
def test_deltas_and_their_snapshots_say_every_part_once(parts: list[list[str]]) -> None:
    contents: list[Content] = []
    for number, chunks in enumerate(parts):
        chunks = [f"{number}", *chunks]
        contents += [delta(chunk) for chunk in chunks]
        contents.append(whole("".join(chunks)))
    assert emit(*contents) == item(*(f"{n}{''.join(chunks)}" for n, chunks in enumerate(parts)))
