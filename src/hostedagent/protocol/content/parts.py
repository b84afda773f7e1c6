"""The parts inside items: `input_text`, `input_image`, `input_file`, `output_text`, `refusal` and their kin.

Messages hold them, and so do the outputs of functions; both read them here. `read_parts` and `write_part` are
inverses for everything that a function may return.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

from agent_framework import Content, detect_media_type_from_base64, with_namespaced_value
from agent_framework.exceptions import ContentError

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.checks import optional, text
from hostedagent.protocol.content.annotations import read_annotations
from hostedagent.protocol.content.filenames import filename, guess_media_type
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_mapping, is_rows
from hostedagent.protocol.wire import wire_text

WirePart = Mapping[str, Json]

_DETAILS = ("auto", "low", "high", "original")
"""Levels of image detail; the model's service would refuse any other value during the turn."""

REFUSAL = {"core": {"model_output_kind": "refusal"}}
"""Agent Framework's marker of text content that is a refusal."""


def read_parts(parts: object, param: str) -> list[Content]:
    """Read an item's `content` or `output`: a string, or a sequence of parts.

    Args:
        param: Its path inside the item, for error messages.

    Raises:
        InvalidRequest: A part is not an object, lacks what its type needs, or its data cannot be decoded.
    """
    if isinstance(parts, str):
        return [Content.from_text(parts)]
    if not is_rows(parts):
        raise InvalidRequest(f"{param} must be a string or an array of content parts.", param=param)
    return [read_part(part, f"{param}[{n}]") for n, part in enumerate(parts)]


def read_part(part: object, param: str) -> Content:
    """Read one part; a type that is not known becomes a text that names it, so that nothing vanishes silently."""
    if not is_mapping(part):
        raise InvalidRequest(f"{param} must be an object with a type.", param=param)
    wire: WirePart = part
    reader = _READERS.get(str(wire.get("type")))
    if reader is None:
        return Content.from_text(f"[{wire.get('type', 'untyped')} content that this agent cannot read]")
    return reader(wire, param)


def write_part(content: Content) -> dict[str, Json]:
    """Write a content as an input part, as the outputs of functions hold them."""
    match content.type:
        case "data" | "uri" if (content.media_type or "").startswith("image"):
            return {"type": "input_image", "image_url": content.uri, "detail": _detail(content)}
        case "data":
            return {"type": "input_file", "file_data": content.uri, "filename": filename(content)}
        case "uri":
            return {"type": "input_file", "file_url": content.uri, "filename": filename(content)}
        case "hosted_file" if (content.media_type or "").startswith("image/"):
            return {"type": "input_image", "file_id": content.file_id, "image_url": None, "detail": _detail(content)}
        case "hosted_file":
            return {"type": "input_file", "file_id": content.file_id}
        case "text" | "text_reasoning":
            return {"type": "input_text", "text": wire_text(content.text or "")}
        case _:
            return {"type": "input_text", "text": f"[{content.type}]"}


def read_image(wire: WirePart, param: str) -> Content:
    """Read an `input_image`: a URL, a data URL, raw base64, or the id of an uploaded file."""
    detail = wire.get("detail")
    if detail and detail not in _DETAILS:
        raise InvalidRequest(
            f"{param}.detail must be one of {', '.join(_DETAILS)}, not {detail!r:.80}.", param=f"{param}.detail"
        )
    properties = with_namespaced_value(None, "openai", "image_detail", detail) if detail else None
    url, file_id = wire.get("image_url"), wire.get("file_id")
    if isinstance(url, str) and url:
        return _from_url(url, "image/*", param=f"{param}.image_url", properties=properties)
    if isinstance(file_id, str) and file_id:
        return Content.from_hosted_file(file_id, media_type="image/*", additional_properties=properties)
    raise InvalidRequest(f"{param} needs image_url or file_id.", param=param)


def read_file(wire: WirePart, param: str) -> Content:
    """Read an `input_file`: data (raw base64 or a data URL), a URL, or the id of an uploaded file."""
    name = optional(text, wire.get("filename"), f"{param}.filename")
    data, url, file_id = wire.get("file_data"), wire.get("file_url"), wire.get("file_id")
    properties = {"openai": {"content_type": "input_file"}}
    if isinstance(data, str) and data:
        media_type = guess_media_type(name or "")
        content = _from_data(data, media_type, param=f"{param}.file_data", name=name, properties=properties)
        if content.has_top_level_media_type("audio"):  # The store keeps audio as a file, and clients send it as audio.
            content.additional_properties.pop("openai")
        return content
    if isinstance(url, str) and url:
        return _from_url(url, "application/octet-stream", param=f"{param}.file_url", name=name, properties=properties)
    if isinstance(file_id, str) and file_id:
        return Content.from_hosted_file(file_id, name=name)
    raise InvalidRequest(f"{param} needs file_data, file_url or file_id.", param=param)


def _from_url(
    url: str, fallback: str, *, param: str, name: str | None = None, properties: dict[str, Json] | None = None
) -> Content:
    if url.startswith("data:"):
        return _from_data(url, None, param=param, name=name, properties=properties)
    if "://" not in url:
        if ":" not in url and len(url) % 4 == 0:
            return _from_data(url, None, param=param, name=name, properties=properties)
        raise InvalidRequest(f"{param} must be an http(s) URL, a data URL or base64.", param=param)
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidRequest(f"{param} must use http or https.", param=param)
    media_type = guess_media_type(url.partition("?")[0]) or fallback
    return Content.from_uri(url, media_type=media_type, name=name, additional_properties=properties)


def _from_data(
    data: str, media_type: str | None, *, param: str, name: str | None, properties: dict[str, Json] | None
) -> Content:
    head, comma, body = data.partition(",") if data.startswith("data:") else ("", "", data)
    if head and not comma:
        raise InvalidRequest(f"{param} is not a data URL: it has no comma.", param=param)
    try:
        if comma and not head.endswith(";base64"):
            return Content.from_uri(data, name=name, additional_properties=properties)
        base64.b64decode(body, validate=True)
    except (binascii.Error, ContentError, ValueError):
        raise InvalidRequest(f"{param} is not valid base64.", param=param) from None
    declared = head.removeprefix("data:").partition(";")[0]
    kind = declared or media_type or detect_media_type_from_base64(data_str=body) or "application/octet-stream"
    return Content.from_uri(f"data:{kind};base64,{body}", media_type=kind, name=name, additional_properties=properties)


def _read_text(wire: WirePart, param: str) -> Content:
    return Content.from_text(text(wire.get("text"), f"{param}.text"))


def _read_output_text(wire: WirePart, param: str) -> Content:
    logprobs = wire.get("logprobs")
    return Content.from_text(
        text(wire.get("text"), f"{param}.text"),
        annotations=read_annotations(wire.get("annotations")),
        additional_properties={"openai": {"logprobs": logprobs}} if logprobs else None,
    )


def _read_refusal(wire: WirePart, param: str) -> Content:
    return Content.from_text(text(wire.get("refusal"), f"{param}.refusal"), additional_properties=dict(REFUSAL))


def _read_audio(wire: WirePart, param: str) -> Content:
    audio = wire.get("input_audio")
    if not is_mapping(audio):
        raise InvalidRequest(
            f"{param}.input_audio must be an object with data and format.", param=f"{param}.input_audio"
        )
    data = text(audio.get("data"), f"{param}.input_audio.data")
    media_type = f"audio/{audio.get('format', 'wav')}"
    return _from_data(data, media_type, param=f"{param}.input_audio", name=None, properties=None)


def _read_video(wire: WirePart, param: str) -> Content:
    return _from_url(text(wire.get("video_url"), f"{param}.video_url"), "video/*", param=f"{param}.video_url")


def _detail(content: Content) -> str:
    detail = fields_of(content.additional_properties.get("openai")).get("image_detail")
    return detail if isinstance(detail, str) else "auto"


def is_part_type(kind: object) -> bool:
    """Whether there are content parts of this type."""
    return isinstance(kind, str) and kind in _READERS


_READERS: Mapping[str, Callable[[WirePart, str], Content]] = {
    "input_text": _read_text,
    "text": _read_text,
    "summary_text": _read_text,
    "reasoning_text": _read_text,
    "output_text": _read_output_text,
    "refusal": _read_refusal,
    "input_image": read_image,
    "input_file": read_file,
    "input_audio": _read_audio,
    "input_video": _read_video,
}
