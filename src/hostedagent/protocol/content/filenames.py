"""Names and media types of files, the same on every machine: Python's own table varies, and reads the machine's."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from functools import cache
from typing import Final

from agent_framework import Content

_SUFFIXES: Final[Mapping[str, str]] = {
    "audio/aac": ".aac",
    "image/avif": ".avif",
    "text/csv": ".csv",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "audio/flac": ".flac",
    "audio/x-flac": ".flac",
    "application/gzip": ".gz",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "text/javascript": ".js",
    "audio/mp4": ".m4a",
    "audio/m4a": ".m4a",
    "audio/x-m4a": ".m4a",
    "text/markdown": ".md",
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/ogg": ".ogg",
    "video/ogg": ".ogv",
    "audio/opus": ".opus",
    "audio/pcm": ".pcm",
    "audio/pcm16": ".pcm",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/rtf": ".rtf",
    "audio/wav": ".wav",
    "audio/vnd.wave": ".wav",
    "audio/wave": ".wav",
    "audio/x-wav": ".wav",
    "video/webm": ".webm",
    "audio/webm": ".webm",
    "image/webp": ".webp",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/xml": ".xml",
    "application/yaml": ".yaml",
    "application/x-yaml": ".yaml",
    "text/yaml": ".yaml",
}
"""Types that Python lacks or names differently from version to version. A suffix has the first of its types."""

_TYPES: Final = {suffix: kind for kind, suffix in reversed(_SUFFIXES.items())}


@cache
def _of_python() -> mimetypes.MimeTypes:
    """Python's own table, without the files of the machine, of which a slim image has none."""
    return mimetypes.MimeTypes()


def filename(content: Content) -> str:
    """The content's file name, or one made from its media type."""
    name = getattr(content, "name", None)
    return name if isinstance(name, str) and name else f"file{_suffix(media_type_of(content))}"


def media_type_of(content: Content) -> str:
    """The declared media type, from the content or its data URL."""
    head = (content.uri or "").partition(",")[0].removeprefix("data:")
    return content.media_type or head.partition(";")[0] or "application/octet-stream"


def guess_media_type(name: str) -> str | None:
    """The media type of a file's name or URL."""
    suffix = name.rpartition("/")[2].rpartition(".")[2].lower()
    return _TYPES.get(f".{suffix}") or _of_python().guess_type(name)[0]


def _suffix(media_type: str) -> str:
    kind = media_type.partition(";")[0].strip().lower()
    return _SUFFIXES.get(kind) or _of_python().guess_extension(kind) or ".bin"
