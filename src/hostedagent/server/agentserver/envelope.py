"""Completes the response objects that the SDK sends, with `protocol.envelope`.

The SDK omits fields that a handler does not set and strips nulls from stored responses, so the object is completed when
it is sent: in JSON bodies and in the few events with a snapshot. Other events pass through unchanged.
Specification: https://www.openresponses.org/specification, schema `ResponseResource`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from hostedagent.errors import refusal
from hostedagent.protocol.envelope import complete, complete_error
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import fields_of, is_object

if TYPE_CHECKING:
    from starlette.types import Message, Send

SNAPSHOT_EVENTS: Final = ("created", "queued", "in_progress", "completed", "incomplete", "failed")

_SNAPSHOT_FRAMES: Final = tuple(f"event: response.{name}\n".encode() for name in SNAPSHOT_EVENTS)
_SNAPSHOT: Final = re.compile(
    rb'(?P<head>\{"type": "response\.\w+", "response": )(?P<response>.*)(?P<tail>, "sequence_number": \d+\})', re.DOTALL
)
"""The SDK's form of an event with a snapshot."""

_NO_AGENT: Final = "server-default-agent"

_PLAIN_FRAME: Final = b"event: response.output"
_NEXT_FRAME: Final = b"\n\nevent: "
_ERROR_FRAME: Final = b"event: error\n"


OutputSoFar: TypeAlias = Callable[[str, list[Item]], list[Item]]
"""Returns the output so far of a response in progress, of which the SDK shows little."""


class Completer:
    """Completes one HTTP response of the SDK. JSON is collected first; a stream consists of whole frames."""

    def __init__(self, send: Send, output_so_far: OutputSoFar) -> None:
        self._send = send
        self._output_so_far = output_so_far
        self._start: Message | None = None
        self._body: list[bytes] = []
        self._is_stream = False
        self._frames = _Frames()

    async def __call__(self, message: Message) -> None:
        """Send a message of the response, completed."""
        if message["type"] == "http.response.start":
            kind = _content_type(message)
            self._is_stream = kind.startswith(b"text/event-stream")
            if kind.startswith(b"application/json") and (message["status"] == 200 or 400 <= message["status"] < 500):
                self._start = message
                return
        elif message["type"] == "http.response.body":
            if self._is_stream:
                body = message.get("body", b"")
                if not body.startswith(_PLAIN_FRAME) or _NEXT_FRAME in body:
                    message = {**message, "body": self._frames.completed(body)}
            elif self._start is not None:
                await self._json(message)
                return
        await self._send(message)

    async def _json(self, message: Message) -> None:
        assert self._start is not None
        self._body.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = b"".join(self._body)
        if self._start["status"] == 200:
            body = _complete_body(body, self._output_so_far)
        else:
            body = _complete_refusal(self._start["status"], body)
        headers = [(key, value) for key, value in self._start["headers"] if key.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({**message, "body": body})


def _content_type(message: Message) -> bytes:
    return next((value for key, value in message["headers"] if key.lower() == b"content-type"), b"")


def _complete_body(body: bytes, output_so_far: OutputSoFar) -> bytes:
    value = decode(body)
    if not is_object(value):
        return body
    # The result of a DELETE also has the object type `response`.
    if value.get("object") != "response" or "output" not in value:
        return body
    if value.get("status") == "in_progress":
        value["output"] = output_so_far(str(value.get("id")), value["output"])
    return encode(_whole(value))


def _whole(response: Item) -> dict[str, Json]:
    """The complete response, without the agent name that the SDK makes up."""
    full = complete(response)
    if fields_of(full.get("agent_reference")).get("name") == _NO_AGENT:
        full["agent_reference"] = None
    return full


def _complete_refusal(status: int, body: bytes) -> bytes:
    value = decode(body)
    error = fields_of(value).get("error")
    return encode({"error": refusal(status, error)}) if is_object(error) else body


class _Frames:
    """Completes the snapshots of one stream. The first ones show the same response, which is completed once."""

    def __init__(self) -> None:
        self._response = b""
        self._completed = b""

    def completed(self, chunk: bytes) -> bytes:
        """A chunk of whole frames, which are nearly always one."""
        if _NEXT_FRAME not in chunk:
            return self._frame(chunk)
        return b"".join(self._frame(frame + b"\n\n") for frame in chunk.split(b"\n\n") if frame)

    def _frame(self, frame: bytes) -> bytes:
        is_snapshot = frame.startswith(_SNAPSHOT_FRAMES)
        if not is_snapshot and not frame.startswith(_ERROR_FRAME):
            return frame
        head, marker, rest = frame.partition(b"\ndata: ")
        data, end, more = rest.partition(b"\n\n")
        if not marker or not end:
            return frame
        data = self._snapshot(data) if is_snapshot else event_data(complete_error(decode(data)))
        return b"".join((head, marker, data, end, more))

    def _snapshot(self, data: bytes) -> bytes:
        parts = _SNAPSHOT.fullmatch(data)
        if parts is None or parts["response"] != self._response:
            event = decode(data)
            completed = _whole(event["response"])
            if parts is None or len(event) > parts.re.groups:  # The frame has other lines in between.
                return event_data({**event, "response": completed})
            self._response, self._completed = parts["response"], event_data(completed)
        return b"".join((parts["head"], self._completed, parts["tail"]))
