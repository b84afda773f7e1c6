"""Outputs of tools that the model's service runs, in any form that agents give them.

Agent Framework declares them as contents, but stored sessions and custom agents also give mappings, bytes and strings.
Each is read as the content that it represents.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeGuard

from agent_framework import Content, detect_media_type_from_base64
from agent_framework.exceptions import ContentError

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.parts import is_part_type, read_part
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import each_of, is_mapping

_PLACES = ("uri", "url", "image_url", "b64_json", "data", "result", "source")
"""Fields of a mapping that contain data, a data URL, a URL, or a mapping with one of them."""

_IMAGES = ("image", "image_url", "image_generation_call")
"""Types of images in MCP and Anthropic's service, in Chat Completions, and among the items of Responses."""


def contents_of(values: object) -> list[Content]:
    """The contents of an output: one or several, each a content, a mapping, bytes or a string."""
    return [content for row in each_of(values) if (content := _content(row)) is not None]


def is_binary(value: object) -> TypeGuard[bytes]:
    """Whether a value is data itself."""
    return isinstance(value, bytes | bytearray | memoryview)


def _content(value: object) -> Content | None:
    if isinstance(value, Content):
        return value
    try:
        if is_binary(value):
            return _data(bytes(value), None)
        if is_mapping(value):
            return _from_mapping(value)
    except (InvalidRequest, ContentError, ValueError, TypeError, KeyError):  # Not a content after all.
        return None
    return Content.from_text(value) if isinstance(value, str) and value else None


def _from_mapping(fields: Mapping[str, Json]) -> Content | None:
    kind, media_type = fields.get("type"), fields.get("media_type") or fields.get("mimeType")
    if kind != "text" and is_part_type(kind):
        return read_part(fields, "output")
    if kind is not None and kind not in _IMAGES and not (kind == "data" and "uri" not in fields):
        return Content.from_dict(fields)
    value = next((fields[name] for name in _PLACES if fields.get(name)), None)
    if is_mapping(value):
        return _from_mapping({**value, "type": None})
    if is_binary(value):
        return _data(bytes(value), media_type)
    if not isinstance(value, str):
        return None
    if "://" in value or value.startswith("data:"):
        return Content.from_uri(value, media_type=media_type or (None if value.startswith("data:") else "image/*"))
    try:
        return _data(base64.b64decode(value, validate=True), media_type)
    except binascii.Error:
        return None


def _data(data: bytes, media_type: str | None) -> Content | None:
    kind = media_type or detect_media_type_from_base64(data_bytes=data)
    return Content.from_data(data, kind or "application/octet-stream") if data else None
