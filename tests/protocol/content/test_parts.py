"""Content parts: what a caller may put into a message, and what a function may return."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.filenames import filename
from hostedagent.protocol.content.parts import read_part, read_parts, write_part

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 8).decode()
PDF = base64.b64encode(b"%PDF-1.7 text").decode()
DATA_URL = f"data:image/png;base64,{PNG}"


def image(**fields: Any) -> dict[str, Any]:
    return {"type": "input_image", **fields}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "input_file", **fields}


READ = [
    pytest.param({"type": "input_text", "text": "a"}, ("text", "a", None), id="input_text"),
    pytest.param({"type": "output_text", "text": "a"}, ("text", "a", None), id="output_text"),
    pytest.param({"type": "summary_text", "text": "a"}, ("text", "a", None), id="summary_text"),
    pytest.param(image(image_url="https://x/y.jpg?z=1"), ("uri", "https://x/y.jpg?z=1", "image/jpeg"), id="image URL"),
    pytest.param(image(image_url="https://x/y"), ("uri", "https://x/y", "image/*"), id="image URL without a suffix"),
    pytest.param(image(image_url=DATA_URL), ("data", DATA_URL, "image/png"), id="data URL"),
    pytest.param(image(image_url=PNG), ("data", DATA_URL, "image/png"), id="raw base64"),
    pytest.param(image(file_id="f"), ("hosted_file", "f", "image/*"), id="uploaded image"),
    pytest.param(
        file(file_data=PDF, filename="a.pdf"),
        ("data", f"data:application/pdf;base64,{PDF}", "application/pdf"),
        id="file data, type by name",
    ),
    pytest.param(
        file(file_data=f"data:text/plain;base64,{PDF}", filename="a.pdf"),
        ("data", f"data:text/plain;base64,{PDF}", "text/plain"),
        id="the data URL knows better than the name",
    ),
    pytest.param(file(file_url="https://x/y.pdf"), ("uri", "https://x/y.pdf", "application/pdf"), id="file URL"),
    pytest.param(file(file_id="f"), ("hosted_file", "f", None), id="uploaded file"),
    pytest.param(
        {"type": "input_audio", "input_audio": {"data": PDF, "format": "mp3"}},
        ("data", f"data:audio/mp3;base64,{PDF}", "audio/mp3"),
        id="audio",
    ),
    pytest.param({"type": "hologram"}, ("text", "[hologram content that this agent cannot read]", None), id="unknown"),
]


@pytest.mark.parametrize(("wire", "expected"), READ)
def test_a_part_is_read(wire: dict[str, Any], expected: Any) -> None:
    content = read_part(wire, "content[0]")
    assert (content.type, content.text or content.uri or content.file_id, content.media_type) == expected


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ("text", "p"),
        ({"type": "input_text", "text": None}, "p.text"),
        (image(), "p"),
        (image(image_url="ftp://x/y.png"), "p.image_url"),
        (image(image_url="javascript:alert(1)"), "p.image_url"),
        (image(image_url="data:image/png;base64,***"), "p.image_url"),
        (image(image_url="data:image/png"), "p.image_url"),
        (image(image_url="nonsense!"), "p.image_url"),
        (file(), "p"),
        (file(file_data="***"), "p.file_data"),
        (file(file_data=PDF, filename=1), "p.filename"),
        (file(file_url="file:///etc/passwd"), "p.file_url"),
        ({"type": "input_audio"}, "p.input_audio"),
        ({"type": "input_audio", "input_audio": {"data": 1}}, "p.input_audio.data"),
        ({"type": "input_video", "video_url": "x:y"}, "p.video_url"),
    ],
)
def test_a_malformed_part_is_refused_with_the_place(wire: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_part(wire, "p")
    assert refused.value.param == param


def test_a_refused_part_never_repeats_its_data() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_part(file(file_data="data:text/plain;base64,s3cr3t*"), "p")
    assert "s3cr3t" not in refused.value.message


def test_the_place_of_a_part_is_counted() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_parts([{"type": "input_text", "text": "a"}, 1], "output")
    assert refused.value.param == "output[1]"


def test_how_closely_to_look_at_an_image_survives() -> None:
    wire = image(image_url="https://x/y.png", detail="low")
    assert write_part(read_part(wire, "p")) == wire


WRITE = [
    pytest.param(Content.from_text("a"), {"type": "input_text", "text": "a"}, id="text"),
    pytest.param(Content.from_text_reasoning(text="a"), {"type": "input_text", "text": "a"}, id="reasoning"),
    pytest.param(Content.from_uri(DATA_URL), image(image_url=DATA_URL, detail="auto"), id="image"),
    pytest.param(
        Content.from_hosted_file("f", media_type="image/png"),
        image(file_id="f", image_url=None, detail="auto"),
        id="uploaded image",
    ),
    pytest.param(
        Content.from_uri(f"data:application/pdf;base64,{PDF}", name="a.pdf"),
        file(file_data=f"data:application/pdf;base64,{PDF}", filename="a.pdf"),
        id="file",
    ),
    pytest.param(
        Content.from_uri("https://x/y", media_type="application/pdf"),
        file(file_url="https://x/y", filename="file.pdf"),
        id="file URL",
    ),
    pytest.param(Content.from_hosted_file("f"), file(file_id="f"), id="uploaded file"),
    pytest.param(Content.from_error(message="secret"), {"type": "input_text", "text": "[error]"}, id="no error text"),
]


@pytest.mark.parametrize(("content", "expected"), WRITE)
def test_a_content_is_written_as_a_part(content: Content, expected: dict[str, Any]) -> None:
    assert write_part(content) == expected


@pytest.mark.parametrize("media_type", ["application/x-nobody-knows", "", None])
def test_a_file_of_an_unknown_type_gets_a_name(media_type: str | None) -> None:
    assert filename(Content.from_hosted_file("f", media_type=media_type)) == "file.bin"


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("audio/wav", "file.wav"),
        ("audio/mp3", "file.mp3"),
        ("audio/ogg; codecs=opus", "file.ogg"),
        ("AUDIO/FLAC", "file.flac"),
        ("image/webp", "file.webp"),
        ("image/jpg", "file.jpg"),
        ("application/pdf", "file.pdf"),
        ("application/xml", "file.xml"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "file.docx"),
        ("text/markdown", "file.md"),
        ("video/webm", "file.webm"),
    ],
)
def test_a_file_without_a_name_has_the_suffix_of_its_type_on_every_machine(media_type: str, expected: str) -> None:
    assert filename(Content("data", uri="data:,", media_type=media_type)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.wav", "audio/wav"),
        ("A.WEBP", "image/webp"),
        ("notes.md", "text/markdown"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.webm", "video/webm"),
        ("a.csv", "text/csv"),
        ("a.pdf", "application/pdf"),
    ],
)
def test_data_without_a_type_has_that_of_its_name_on_every_machine(name: str, expected: str) -> None:
    assert read_part(file(file_data="AAAA", filename=name), "p").media_type == expected


@given(st.binary(min_size=1), st.sampled_from(["image/png", "application/pdf", "text/csv", "audio/wav"]))
def test_any_data_survives_the_round_trip(data: bytes, media_type: str) -> None:
    sent = Content.from_data(data, media_type)
    came = read_part(write_part(sent), "p")
    assert (came.type, came.uri, came.media_type) == ("data", sent.uri, media_type)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_round_trip(said: str) -> None:
    assert read_part(write_part(Content.from_text(said)), "p").text == said


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_whatever_is_no_part_is_refused_or_read_but_never_crashes(value: Any) -> None:
    try:
        read_parts(value, "content")
    except InvalidRequest as refused:
        assert refused.param is not None


KINDS = ["input_text", "input_image", "input_file", "input_audio", "input_video", "output_text", "refusal"]
FIELDS = [
    "text",
    "image_url",
    "file_data",
    "file_url",
    "file_id",
    "filename",
    "input_audio",
    "video_url",
    "annotations",
]
VALUES = (
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["data:", "data:,a", "data:;base64,", "http:"])
)


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_odd_values_are_refused_with_their_place(kind: str, fields: dict[str, Any]) -> None:
    try:
        read_part({**fields, "type": kind}, "p")
    except InvalidRequest as refused:
        assert (refused.param or "").startswith("p")
