"""Files that an agent gives: images are shown, everything else is named with a citation that leads to it."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from agent_framework import AgentResponseUpdate, Content, Message
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.protocol.content import BY_CONTENT
from hostedagent.protocol.content.files import MAX_DATA_BYTES
from tests.clients.upstream import Text, Upstream, responses_client
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, emit, lines, log

PIXEL = "iVBORw0KGgo="
SVG = "<svg/>"
CSV = "data:text/csv;base64,YSxi"
REPORT = "https://x.example/report.pdf"


def message(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    spans = [{**row, "start_index": 0, "end_index": len(text)} for row in annotations if "index" not in row]
    rows = spans or list(annotations)
    content = [{"type": "output_text", "text": text, "annotations": rows, "logprobs": []}]
    return {"type": "message", "role": "assistant", "status": "completed", "content": content}


def image(result: str, **fields: Any) -> dict[str, Any]:
    return {"type": "image_generation_call", "status": "completed", "result": result, **fields}


def url(link: str, title: str) -> dict[str, Any]:
    return {"type": "url_citation", "url": link, "title": title}


def container_file() -> Content:
    return Content.from_hosted_file("cfile_1", name="a.csv", additional_properties={"container_id": "cntr_1"})


EMIT = [
    pytest.param(
        Content.from_uri(f"data:image/png;base64,{PIXEL}"), image(PIXEL, output_format="png"), id="an image as data"
    ),
    pytest.param(
        Content.from_uri(f"data:image/svg+xml,{quote(SVG)}"),
        image(base64.b64encode(SVG.encode()).decode()),
        id="an image that is not base64",
    ),
    pytest.param(
        Content.from_uri("https://x.example/a.png", media_type="image/png"),
        message("https://x.example/a.png", url("https://x.example/a.png", "file.png")),
        id="an image by URL",
    ),
    pytest.param(
        Content.from_uri(REPORT, media_type="application/pdf", name="Report"),
        message(f"Report: {REPORT}", url(REPORT, "Report")),
        id="a document by URL",
    ),
    pytest.param(
        Content.from_uri(CSV, media_type="text/csv", name="a.csv"),
        message("a.csv", url(CSV, "a.csv")),
        id="a document as data",
    ),
    pytest.param(
        Content.from_uri("data:text/csv,a%2Cb", media_type="text/csv"),
        message("file.csv", url(CSV, "file.csv")),
        id="a document that is not base64",
    ),
    pytest.param(
        Content.from_hosted_file("file_1", name="a.csv"),
        message("a.csv", {"type": "file_citation", "file_id": "file_1", "filename": "a.csv", "index": 5}),
        id="an uploaded file",
    ),
    pytest.param(
        Content.from_hosted_file("file_1"),
        message("file_1", {"type": "file_path", "file_id": "file_1", "index": 6}),
        id="an uploaded file without a name",
    ),
    pytest.param(
        container_file(),
        message(
            "a.csv",
            {
                "type": "container_file_citation",
                "container_id": "cntr_1",
                "file_id": "cfile_1",
                "filename": "a.csv",
            },
        ),
        id="a file in a container",
    ),
]


@pytest.mark.parametrize(("content", "expected"), EMIT)
def test_a_file_is_an_item_that_every_client_can_use(content: Content, expected: dict[str, Any]) -> None:
    assert emit(content) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (Content.from_uri("file:///srv/keys.txt", media_type="text/plain"), "[file.txt is at a place that callers"),
        (Content("uri", uri="javascript:alert(1)", media_type="image/png"), "[file.png is at a place that callers"),
        (Content("uri", uri=None, media_type="text/plain", name="a.txt"), "[a.txt is at a place that callers"),
        (Content("data", uri="data:nothing", media_type="image/png"), "[file.png cannot be sent]"),
        (Content("hosted_file", file_id=None, name="a.txt"), "[a.txt cannot be sent]"),
        (Content("data", uri="data:a/b;base64," + "A" * (MAX_DATA_BYTES * 4 // 3 + 4)), "[file.bin is too large"),
        (Content("data", uri="data:image/png;base64," + "A" * (MAX_DATA_BYTES * 4 // 3 + 4)), "[file.png is too large"),
    ],
)
def test_a_file_that_cannot_be_sent_is_named_only(content: Content, text: str) -> None:
    (part,) = emit(content)["content"]
    assert part["text"].startswith(text)
    assert part["annotations"] == []


@pytest.mark.parametrize(("length", "is_sent"), [(11_184_811, True), (11_184_812, False)])
def test_eight_mebibytes_of_a_file_are_sent_and_not_a_byte_more(length: int, is_sent: bool) -> None:
    item = emit(Content("data", uri="data:image/png;base64," + "A" * length))

    assert (item["type"] == "image_generation_call") is is_sent


def test_an_image_goes_through_the_steps_that_clients_wait_for() -> None:
    assert [line.split()[0] for line in lines(Content.from_uri(f"data:image/png;base64,{PIXEL}"))] == [
        "item+",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.completed",
        "item-",
    ]


def test_a_named_file_comes_as_a_message_does() -> None:
    assert [line.split()[0] for line in lines(Content.from_hosted_file("file_1"))] == [
        "item+",
        "part+",
        "text",
        "note",
        "text=",
        "part-",
        "item-",
    ]


def test_a_file_stands_where_the_agent_gave_it() -> None:
    said = [Content.from_text("Here:"), container_file(), Content.from_text("Done.")]
    projected = project([AgentResponseUpdate(contents=said, role="assistant", message_id="m")])
    log(projected)
    assert [row["content"][0]["text"] for row in projected.items] == ["Here:", "a.csv", "Done."]


def test_a_snapshot_of_the_whole_message_does_not_double_its_files() -> None:
    said = [container_file(), Content.from_uri(f"data:image/png;base64,{PIXEL}")]
    projected = project([update(*said), update(*said, merge_mode="replace")])
    log(projected)
    assert [row["type"] for row in projected.items] == ["message", "image_generation_call"]


def test_files_that_differ_in_anything_are_all_sent() -> None:
    alike = [Content.from_hosted_file("file_1"), Content.from_hosted_file("file_2"), container_file()]
    by_two = [update(*alike, author_name="a"), update(*alike, author_name="b")]
    assert len(project(by_two).items) == 6


def test_a_vector_store_leaves_no_item() -> None:
    projected = project([Content.from_hosted_vector_store("vs_1")])
    assert (projected.events, projected.items) == ([], [])


def test_callers_files_are_read_where_they_stand() -> None:
    assert all(BY_CONTENT[kind].read is None for kind in ("data", "uri", "hosted_file", "hosted_vector_store"))
    wire = [
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_image", "image_url": "https://x.example/a.png"},
    ]
    contents = read({"type": "message", "role": "user", "content": wire})
    assert [content.type for content in contents] == ["hosted_file", "uri"]


IMAGES = st.binary(min_size=1, max_size=50)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(IMAGES)
def test_any_image_is_read_back_as_it_was_given(data: bytes) -> None:
    given_image = Content.from_data(data, "image/png")
    (stored,) = project([given_image]).items
    _, result = read(stored)
    assert isinstance(result.outputs, Content)
    assert result.outputs.uri == given_image.uri
    wire = {name: value for name, value in stored.items() if name in ("type", "result", "output_format", "status")}
    assert again({**wire, "id": "ig_1"}) == wire


@given(NAMES, st.text("abc", min_size=1))
def test_what_leads_to_any_file_is_read_back(name: str, file_id: str) -> None:
    (stored,) = project([Content.from_hosted_file(file_id, name=name)]).items
    (content,) = read(stored)
    (citation,) = list(content.annotations or [])
    assert (content.text, citation.get("file_id"), citation.get("url")) == (name, file_id, name)


@given(NAMES)
def test_what_leads_to_any_url_is_read_back(name: str) -> None:
    (stored,) = project([Content.from_uri(REPORT, media_type="application/pdf", name=name)]).items
    (content,) = read(stored)
    (citation,) = list(content.annotations or [])
    assert (content.text, citation.get("url"), citation.get("title")) == (f"{name}: {REPORT}", REPORT, name)


async def test_the_provider_accepts_the_history_and_is_not_sent_the_bytes_again() -> None:
    given_files = [
        Content.from_uri(CSV, media_type="text/csv", name="a.csv"),
        Content.from_uri(REPORT, media_type="application/pdf"),
        Content.from_uri(f"data:image/png;base64,{PIXEL}"),
        container_file(),
    ]
    stored = project(given_files).items
    history = [content for row in stored for content in read(row)]
    async with Upstream() as upstream:
        upstream.script(Text("ok"))
        messages = [Message("assistant", history), Message("user", ["again"])]
        await responses_client(upstream).get_response(messages, options={"store": False})
    told = upstream.requests[0]["input"][0]["content"]
    assert [part["text"] for part in told] == ["a.csv", REPORT, "a.csv"]
    assert "base64" not in str(told)
