"""Files that an agent outputs: images and documents as data, as a URL, or as the id of an uploaded file.

An image given as data becomes an `image_generation_call`, which clients can display. The protocol has no output item
for other files: they become a message that names the file, with a citation that links to it. Files of callers are parts
of messages and are read there.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterable, Iterator
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from agent_framework import Annotation, Content

from hostedagent.observability.metrics import count_left_out
from hostedagent.protocol.content.calls import raw_text
from hostedagent.protocol.content.codec import COMPLETED, Codec, Key, OpenItem, Output, Part
from hostedagent.protocol.content.filenames import filename, media_type_of
from hostedagent.protocol.content.image import OpenImage
from hostedagent.protocol.content.text import OpenText
from hostedagent.protocol.types import Emission
from hostedagent.protocol.wire import wire_text

logger = logging.getLogger(__name__)

MAX_DATA_BYTES: Final = 8 * 1024 * 1024
"""Maximum size in bytes of a file sent as data: a stream repeats it in four events."""

_SCHEMES: Final = ("http://", "https://")

_Refusal = Literal["is too large to send", "cannot be sent", "is at a place that callers cannot reach"]


def key(part: Part) -> Key:
    """The same file of the same author is a repeat: a snapshot of a whole message contains its files again."""
    content = part.content
    place = content.uri or content.file_id or content.vector_store_id or ""
    # Hashed, because data may be megabytes long and keys are kept until the response ends.
    digest = hashlib.sha256(place.encode("utf-8", "replace")).hexdigest() if place else ""
    return ("files", content.type, part.author or "", content.name or "", digest)


class OpenFile(OpenItem):
    """A file, which arrives whole."""

    def append(self, part: Part) -> Iterator[Emission]:
        """Send the file as an image or as a message that names it."""
        self.is_closed = True
        content = part.content
        if content.type == "data" and media_type_of(content).startswith("image/") and (image := _inline(content)):
            result = Content.from_image_generation_tool_result(outputs=image)
            yield from OpenImage(part, self.output).append(part._replace(content=result))
            return
        text = Content.from_text(_text(content), annotations=list(_citations(content)))
        message = OpenText(part._replace(content=text, replaces=False, position=None), self.output)
        yield from message.append(message.first)
        yield from message.close(COMPLETED)


class _NoItem(OpenItem):
    is_closed = True

    def append(self, part: Part) -> Iterable[Emission]:
        logger.debug("A vector store was named; no item tells of it.")
        count_left_out("dropped", part.content.type)
        return ()


def _inline(content: Content) -> Content | None:
    """The data as base64, which not every data URL uses; `None` if it cannot be sent."""
    if _refusal(content) is not None:
        return None
    head, _, body = (content.uri or "").partition(",")
    if not head.endswith(";base64"):
        body = base64.b64encode(unquote_to_bytes(body)).decode()
    media_type = media_type_of(content)
    return Content.from_uri(f"data:{media_type};base64,{body}", media_type=media_type)


def _refusal(content: Content) -> _Refusal | None:
    """Why a file is named but not sent, if so."""
    match content.type:
        case "data":
            _, comma, body = (content.uri or "").partition(",")
            if not comma:
                return "cannot be sent"
            return "is too large to send" if len(body) * 3 // 4 > MAX_DATA_BYTES else None
        case "uri":
            is_reachable = (content.uri or "").lower().startswith(_SCHEMES)
            return None if is_reachable else "is at a place that callers cannot reach"
        case _:
            return None if content.file_id else "cannot be sent"


def _label(content: Content) -> str:
    """The file's name, or a substitute."""
    if content.type == "hosted_file":
        return wire_text(content.name or content.file_id or "file")
    return wire_text(filename(content))


def _text(content: Content) -> str:
    label, refusal = _label(content), _refusal(content)
    if refusal is not None:
        return f"[{label} {refusal}]"
    if content.type != "uri":
        return label
    return wire_text(f"{content.name}: {content.uri}" if content.name else content.uri or "")


def _citations(content: Content) -> Iterator[Annotation]:
    if _refusal(content) is not None:
        return
    citation = Annotation(type="citation")
    if content.type == "hosted_file":
        citation["file_id"] = content.file_id or ""
        if container := content.additional_properties.get("container_id") or raw_text(content, "container_id"):
            citation["additional_properties"] = {"container_id": container}
        if content.name:
            citation["url"] = wire_text(content.name)
    else:
        inline = _inline(content) if content.type == "data" else content
        citation["url"] = (inline.uri if inline else None) or ""
        citation["title"] = _label(content)
    yield citation


def open_file(part: Part, output: Output) -> OpenItem:
    """Send a file; a vector store is not sent, because a caller cannot use it."""
    return _NoItem(part, output) if part.content.type == "hosted_vector_store" else OpenFile(part, output)


FILES = Codec(
    family="files",
    content_types=("data", "uri", "hosted_file", "hosted_vector_store"),
    open=open_file,
    key=key,
    absent={
        "read": "A caller's files are parts of messages and tool outputs and are read there. Model providers accept no "
        "files in assistant messages, so in the next turn the model sees the name of a file that the agent sent.",
        "stream": "A file is sent when it is complete.",
    },
    limits=(
        "An image that an agent returns as data is sent as an `image_generation_call`. Any other file is sent as a "
        "message with its name and one citation: `url_citation` with the URL (a data URL if the agent returned data), "
        "`container_file_citation`, `file_citation` or `file_path` with the file's id.",
        f"Data of more than {MAX_DATA_BYTES // 1024**2} MiB is named but not sent; so is a file whose URL is not http "
        "or https.",
        "The model sees the name and the link of a file that it returned in an earlier turn, not its bytes.",
        "A file that an agent returns twice in one response is sent once.",
        "If the agent's model client would drop a file in a message or a tool output, the model gets a line of text "
        "that names it, which is counted as `placeholder`. Chat Completions accepts images, wav and mp3 audio, and "
        "documents as data, all of them only in messages; Anthropic's client accepts images; OpenAI's Responses client "
        "accepts only wav and mp3 audio. Other clients get every file unchanged, and so do agents that a workflow "
        "hides: those that a functional workflow calls, and the manager of a Magentic orchestration. Give these "
        "`Agent(..., middleware=[SENDABLE])` from `hostedagent.agents.sendable`.",
        "A vector store that an agent returns is not sent, because a caller has no use for it.",
    ),
)
