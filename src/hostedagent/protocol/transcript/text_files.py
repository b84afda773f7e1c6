"""Passes text files to every model as text with their name.

Several chat clients of Agent Framework silently drop text files, so that the model would see an empty message. The
stored item, which clients read back, remains a file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from agent_framework import Content

_TEXTUAL: Final = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})


def with_text_files(contents: Sequence[Content]) -> Sequence[Content]:
    """The contents with text files replaced by their text, also inside function results."""
    for content in contents:  # A loop: nearly all are texts, and a generator costs more than what it asks.
        if content.type == "data" or content.items:
            return [_readable(row) for row in contents]
    return contents


def _readable(content: Content) -> Content:
    if content.type == "data":
        return text_of(content) or content
    if content.type == "function_result" and any(item.type == "data" for item in content.items or ()):
        items = [text_of(item) or item for item in content.items or ()]
        return Content.from_function_result(
            content.call_id or "", result=items, additional_properties=content.additional_properties
        )
    return content


def text_of(content: Content) -> Content | None:
    """The text of the file; `None` if it is not a text file."""
    kind = (content.media_type or "").partition(";")[0].strip().lower()
    head, comma, body = (content.uri or "").partition(",")
    if not comma or not (kind.startswith("text/") or kind in _TEXTUAL or kind.endswith(("+json", "+xml"))):
        return None
    if kind == "image/svg+xml":
        return None
    try:
        data = base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
        text = data.decode("utf-8-sig")
    except (binascii.Error, UnicodeDecodeError):
        text = _other_encoding(head, body)
    if text is None or "\x00" in text:
        return None
    name = content.name or "file"
    # On lines of its own: clients join adjacent texts without a separator.
    return Content.from_text(f"\n[file {name}]\n{text}\n[end of {name}]\n")


def _other_encoding(head: str, body: str) -> str | None:
    """Text that is not UTF-8: in the charset of its data URL, else Windows-1252."""
    charset = next((row[8:] for row in head.split(";") if row.startswith("charset=")), "cp1252")
    try:
        return base64.b64decode(body).decode(charset, "replace")
    except (binascii.Error, LookupError):
        return None
