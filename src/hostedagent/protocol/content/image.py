"""Images that the model's service generates: `image_generation_call`, with previews.

Every preview repeats its call, and the final image may arrive without any preview.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from agent_framework import Content, detect_media_type_from_base64
from agent_framework.exceptions import ContentError

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.calls import CallItem, CallStatus, raw_text, read_call_id, read_text
from hostedagent.protocol.content.codec import Codec, Key, Output, Part
from hostedagent.protocol.content.outputs import contents_of
from hostedagent.protocol.types import Event, Item, MutableItem
from hostedagent.protocol.values import each_of, fields_of

_FORMATS: Final = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpeg", "image/gif": "gif"}


def read(item: Item) -> Sequence[Content]:
    """Read the call and its image."""
    image_id, image = read_call_id(item), read_text(item, "result")
    status = item.get("status")
    properties = {"image": {"status": status}} if status == "failed" else None
    call = Content.from_image_generation_tool_call(image_id=image_id)
    if not image and properties is None:
        return [call]
    outputs = _read_image(image, read_text(item, "output_format")) if image else None
    result = Content.from_image_generation_tool_result(
        image_id=image_id, outputs=outputs, additional_properties=properties
    )
    return [call, result]


def _read_image(image: str, output_format: str | None) -> Content:
    if "://" in image:
        return Content.from_uri(image, media_type=f"image/{output_format or '*'}")
    try:
        kind = f"image/{output_format}" if output_format else detect_media_type_from_base64(data_str=image)
        return Content.from_uri(f"data:{kind or 'image/png'};base64,{image}")
    except (ContentError, ValueError):
        raise InvalidRequest("image_generation_call.result is not valid base64.", param="result") from None


def key(part: Part) -> Key:
    """A call, its previews and its image are one item."""
    return ("image", part.content.image_id or "")


class OpenImage(CallItem):
    """An image that is being generated."""

    prefix: ClassVar[str] = "ig"
    item_type: ClassVar[str] = "image_generation_call"

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._previews: set[int] = set()
        self._is_generating = False
        self._image: str | None = None
        self._format: str | None = None

    def take(self, part: Part) -> Iterator[Event]:
        """Take the call, a preview, or the image."""
        content = part.content
        yield from self.begin()
        if content.type == "image_generation_tool_call":
            return
        images = _images(content)
        for image in images:
            if image.additional_properties.get("is_partial_image"):
                yield from self._preview(image)
                continue
            self._image, self._format = _encoded(image), _FORMATS.get(image.media_type or "")
        self.has_result = self._image is not None or not images
        marked = fields_of(content.additional_properties.get("image"))
        if "failed" in (raw_text(content, "status"), marked.get("status")):
            self.failed_with = "failed"

    def _preview(self, image: Content) -> Iterator[Event]:
        number = image.additional_properties.get("partial_image_index", len(self._previews))
        if number in self._previews:
            return
        yield from self._generate()
        yield self.opened.event(
            "response.image_generation_call.partial_image",
            partial_image_index=len(self._previews),
            partial_image_b64=_encoded(image),
        )
        self._previews.add(number)

    def _generate(self) -> Iterator[Event]:
        if not self._is_generating:
            self._is_generating = True
            yield self.step("generating")

    def finish(self, status: CallStatus) -> Iterator[Event]:
        """The progress event before the last."""
        yield from self._generate()

    def wire(self, status: CallStatus) -> MutableItem:
        """The item, with the image; the protocol knows no image that is incomplete."""
        item: MutableItem = {
            "type": "image_generation_call",
            "status": "failed" if status == "incomplete" else status,
            "result": self._image,
        }
        return {**item, "output_format": self._format} if self._format else item


def _images(content: Content) -> Sequence[Content]:
    """The images of a result. A string counts too: it is base64 or a URL."""
    outputs = [{"result": row} if isinstance(row, str) else row for row in each_of(content.outputs)]
    return [one for one in contents_of(outputs) if one.type in ("data", "uri")]


def _encoded(image: Content) -> str | None:
    """The image as base64, or its URL if it has no data."""
    uri = image.uri or ""
    return (uri.partition(",")[2] if uri.startswith("data:") else uri) or None


IMAGE = Codec(
    family="image",
    content_types=("image_generation_tool_call", "image_generation_tool_result"),
    item_types={"image_generation_call": "assistant"},
    read=read,
    open=OpenImage,
    key=key,
    limits=(
        "An image that a tool returns as a URL is sent with that URL in `result`, which is base64 otherwise.",
        "If a tool returns an image as a file id, the call is sent without the image.",
        "Model clients do not send generated images back to the model.",
    ),
)
