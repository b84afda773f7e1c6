"""Builds a message from a text and files."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path

from hostedagent.cli.invoke.endpoint import InvokeError
from hostedagent.protocol.types import Item


def message(text: str, files: Sequence[str]) -> list[Item]:
    """One user message."""
    if not text.strip() and not files:
        raise InvokeError('There is nothing to say: hostedagent invoke "text".', code=2)
    texts = [{"type": "input_text", "text": text}] if text.strip() else []
    return [{"type": "message", "role": "user", "content": [*texts, *(_part(Path(name)) for name in files)]}]


def _part(path: Path) -> Item:
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise InvokeError(f"{path} cannot be read: {error.strerror}.", code=2) from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "filename": path.name, "file_data": url}
