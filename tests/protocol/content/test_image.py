"""Generated images: previews, the image itself, and what it is called."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from tests.protocol.content.harness import project, read
from tests.protocol.content.wire import again, emit, lines, log

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 8).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff" + b"0" * 9).decode()


def call(image_id: str | None = "ig_p") -> Content:
    return Content.from_image_generation_tool_call(image_id=image_id)


def result(outputs: Any, image_id: str | None = "ig_p", **fields: Any) -> Content:
    return Content.from_image_generation_tool_result(image_id=image_id, outputs=outputs, **fields)


def image(data: str = PNG, kind: str = "png", **properties: Any) -> Content:
    return Content.from_uri(f"data:image/{kind};base64,{data}", additional_properties=properties)


def preview(number: int, data: str = PNG) -> list[Content]:
    return [call(), result(image(data, is_partial_image=True, partial_image_index=number))]


def item(**fields: Any) -> dict[str, Any]:
    known = {"type": "image_generation_call", "status": "completed", "result": PNG, "output_format": "png"}
    return {**known, **fields}


EMPTY: dict[str, Any] = {"type": "image_generation_call", "status": "completed", "result": None}

READ = [
    pytest.param(item(), f"data:image/png;base64,{PNG}", id="png"),
    pytest.param(item(result=JPEG, output_format=None), f"data:image/jpeg;base64,{JPEG}", id="the data tells the type"),
    pytest.param(item(result="AAAA", output_format=None), "data:image/png;base64,AAAA", id="nothing tells the type"),
    pytest.param(item(result="https://x/y.png"), "https://x/y.png", id="a URL"),
]


@pytest.mark.parametrize(("wire", "uri"), READ)
def test_an_item_is_read_as_call_and_result(wire: dict[str, Any], uri: str) -> None:
    first, second = read({**wire, "id": "ig_1"})
    assert (first.type, first.image_id) == ("image_generation_tool_call", "ig_1")
    assert (second.type, second.image_id) == ("image_generation_tool_result", "ig_1")
    assert isinstance(second.outputs, Content)
    assert second.outputs.uri == uri


def test_an_item_without_an_image_is_read_as_a_call() -> None:
    assert [c.type for c in read({**EMPTY, "id": "ig_1"})] == ["image_generation_tool_call"]


@pytest.mark.parametrize(
    ("wire", "param"), [({}, "id"), ({"id": "i", "result": 1}, "result"), ({"id": "i", "result": "é"}, "result")]
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({"type": "image_generation_call", **wire})
    assert refused.value.param == param


EMIT = [
    pytest.param([call(), result(image())], item(), id="call and result"),
    pytest.param([result([image()])], item(), id="a result without a call, in a list"),
    pytest.param([call(), result(image(JPEG, "jpeg"))], item(result=JPEG, output_format="jpeg"), id="jpeg"),
    pytest.param([call()], EMPTY, id="a call without a result"),
    pytest.param(
        [call(), result(None, raw_representation={"status": "failed"})], {**EMPTY, "status": "failed"}, id="failed"
    ),
    pytest.param([call(), result(Content.from_hosted_file("file_1"))], EMPTY, id="a file id"),
    pytest.param(
        [call(), result(Content.from_uri("https://x/y.png", media_type="image/png"))],
        item(result="https://x/y.png"),
        id="a URL",
    ),
    pytest.param([*preview(0), call(), result(image())], item(), id="a preview before"),
    pytest.param(preview(0), EMPTY, id="only a preview"),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_a_call_and_its_image_are_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


def test_previews_stream_once_each_before_the_image() -> None:
    contents = [*preview(0), *preview(0), *preview(1, JPEG), call(), result(image())]
    assert lines(*contents) == [
        "item+ 0 image_generation_call",
        "image_generation_call.in_progress 0",
        "image_generation_call.generating 0",
        "image_generation_call.partial_image 0 0",
        "image_generation_call.partial_image 0 1",
        "image_generation_call.completed 0",
        f"item- 0 image_generation_call {PNG} completed",
    ]


def test_a_preview_carries_its_picture() -> None:
    partial = [e for e in project(preview(3, JPEG)).events if e["type"].endswith("partial_image")]
    assert [(e["partial_image_index"], e["partial_image_b64"]) for e in partial] == [(0, JPEG)]


def test_two_images_side_by_side_are_two_items() -> None:
    projected = project([call("a"), call("b"), result(image(JPEG, "jpeg"), "b"), result(image(), "a")])
    log(projected)
    assert [i["result"] for i in projected.items] == [PNG, JPEG]


def test_images_without_an_id_are_items_of_their_own() -> None:
    assert len(project([call(None), result(image(), None), call(None), result(image(), None)]).items) == 2


def test_a_repeat_of_a_finished_image_is_dropped() -> None:
    assert len(project([call(), result(image()), call(), result(image())]).items) == 1


def test_an_image_that_is_cut_off_has_failed_since_it_cannot_be_incomplete() -> None:
    projected = project(preview(0), end=End(status="incomplete"))
    assert projected.items[0]["status"] == "failed"
    log(projected)


def test_the_provider_knows_the_image_by_its_own_id_in_the_next_turn() -> None:
    (stored,) = project([call(), result(image())]).items
    assert {c.image_id for c in read(stored)} == {"ig_p"}


@pytest.mark.parametrize("wire", [item(), EMPTY, {**EMPTY, "status": "failed"}, item(result="https://x/y.png")])
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again({**wire, "id": "ig_1"}) == wire


@given(st.binary(min_size=1), st.sampled_from(["png", "jpeg", "webp", "gif"]))
def test_any_image_survives_the_round_trip(data: bytes, kind: str) -> None:
    wire = item(result=base64.b64encode(data).decode(), output_format=kind)
    assert again({**wire, "id": "ig_1"}) == wire


DATA = base64.b64decode(PNG)
GIVEN = {
    "a content": image(),
    "a mapping of a content": image().to_dict(),
    "a mapping with bytes": {"type": "data", "data": DATA, "media_type": "image/png"},
    "a part of a message": {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
    "a mapping without a type": {"b64_json": PNG},
    "a mapping that names its type beside the data": {"data": PNG, "media_type": "image/png"},
    "a mapping of another protocol": {"type": "image", "data": PNG, "mimeType": "image/png"},
    "an image of a chat completion": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    "an image of a message": {"type": "image", "source": {"media_type": "image/png", "data": PNG}},
    "bytes": DATA,
    "a view of bytes": memoryview(DATA),
    "a byte array": bytearray(DATA),
    "base64": PNG,
    "a data URL": f"data:image/png;base64,{PNG}",
}


@pytest.mark.parametrize("is_list", [False, True], ids=["alone", "in a list"])
@pytest.mark.parametrize("outputs", GIVEN.values(), ids=GIVEN)
def test_an_image_is_read_however_an_agent_gives_it(outputs: Any, is_list: bool) -> None:
    assert emit(call(), result([outputs] if is_list else outputs)) == item()


@pytest.mark.parametrize(
    "outputs", ["https://x/y.png", {"url": "https://x/y.png"}, {"type": "uri", "uri": "https://x/y.png"}]
)
def test_an_image_that_is_somewhere_is_named_by_its_url(outputs: Any) -> None:
    assert emit(call(), result(outputs))["result"] == "https://x/y.png"


@pytest.mark.parametrize("outputs", [b"", {}, {"type": "nonsense"}, {"b64_json": "%"}, 5, ["no image"], None])
def test_what_is_no_image_leaves_the_call_without_one(outputs: Any) -> None:
    assert emit(call(), result(outputs))["result"] is None


def test_the_item_is_there_from_its_first_event_with_everything_the_protocol_requires() -> None:
    added = next(event for event in project([call()]).events if event["type"].endswith("item.added"))["item"]
    assert (added["type"], added["status"], added["result"]) == ("image_generation_call", "in_progress", None)
    assert added["id"]
