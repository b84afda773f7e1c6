"""The messages of a client in WebSocket mode, parsed: `response.create` and `response.steer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hostedagent.errors import InvalidRequest, NotFound, RequestError
from hostedagent.options import HostOptions
from hostedagent.protocol.checks import flag, optional
from hostedagent.protocol.request.body import parse_body
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Json
from hostedagent.protocol.values import is_mapping, rows_of
from hostedagent.server.admission import parsing, too_large

if TYPE_CHECKING:
    from hostedagent.server.steering import Accepted

MAX_STREAM_ID: Final = 128
"""The longest `stream_id`, in characters."""

_STEER_FIELDS: Final = frozenset({"type", "previous_response_id", "input"})
_STEER_PARTS: Final = ("input_text", "input_image", "input_file")


class Create(Struct, frozen=True):
    """A `response.create`.

    Args:
        steers: Steering inputs of the previous response that the turn takes over.
    """

    request: TurnRequest
    fields: Mapping[str, Json]
    stream_id: str | None = None
    steers: Sequence[Accepted] = ()


class Steer(Struct, frozen=True):
    """A `response.steer`.

    Args:
        request: The input, parsed; `None` where it is not valid.
    """

    response_id: str
    input: Json
    request: TurnRequest | None = None
    error: str = ""


async def read_frame(data: bytes, options: HostOptions) -> Create | Steer:
    """Parse a message; raises `FrameError` when it is invalid; has the lane if the message names one."""
    if len(data) > options.max_body_bytes:
        raise FrameError(too_large(options))
    return await parsing(data, _parsed, options)


class FrameError(Exception):
    """A refused message."""

    def __init__(self, error: RequestError, stream_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.stream_id = stream_id


def _parsed(data: bytes, options: HostOptions) -> Create | Steer:
    stream_id: str | None = None
    try:
        fields = parse_body(data, options).fields
        stream_id = _stream_id(fields)
        match fields.get("type"):
            case "response.create":
                return Create(_request(fields, options), fields, stream_id)
            case "response.steer":
                return parse_steer(fields, options)
            case other:
                raise InvalidRequest(f"type is response.create or response.steer, not {other!r:.80}.", param="type")
    except RequestError as error:
        raise FrameError(error, stream_id) from None


def _request(fields: Mapping[str, Json], options: HostOptions) -> TurnRequest:
    if fields.get("background"):
        raise InvalidRequest("background is a field of POST /responses: leave it out here.", param="background")
    if fields.get("stream") is False:
        raise InvalidRequest("Events are always sent here: leave stream out.", param="stream")
    generates = optional(flag, fields.get("generate"), "generate")
    request = TurnRequest.parse(fields, options.caller)
    return replace(request, stream=True, generates=generates is not False)


def _stream_id(fields: Mapping[str, Json]) -> str | None:
    value = fields.get("stream_id")
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= MAX_STREAM_ID):
        raise InvalidRequest(f"stream_id must be a string of 1 to {MAX_STREAM_ID} characters.", param="stream_id")
    return value


def parse_steer(fields: Mapping[str, Json], options: HostOptions) -> Steer:
    """The new input for a response, and why it is invalid, if it is.

    Raises:
        InvalidRequest: It names no response.
    """
    response_id, given = fields.get("previous_response_id"), fields.get("input")
    if not isinstance(response_id, str) or not response_id:
        raise InvalidRequest("previous_response_id names the response to steer.", param="previous_response_id")
    try:
        if more := sorted(set(fields) - _STEER_FIELDS):
            raise InvalidRequest(f"response.steer has no field {more[0]!r:.80}.", param=more[0])
        _check_steering_input(given)
        return Steer(response_id, given, TurnRequest.parse({"input": given}, options.caller))
    except RequestError as error:
        return Steer(response_id, given, error=error.message)


def _check_steering_input(given: Json) -> None:
    for n, item in enumerate(_objects(given, "input")):
        if item.get("type", "message") != "message" or item.get("role") != "user":
            raise InvalidRequest(f"input[{n}] must be a message of the user.", param=f"input[{n}]")
        place = f"input[{n}].content"
        if any(part.get("type") not in _STEER_PARTS for part in _objects(item.get("content"), place)):
            raise InvalidRequest(f"{place} has text, images and files only.", param=place)


def _objects(value: Json, param: str) -> Sequence[Mapping[str, Json]]:
    """The objects of a list; empty if it is not a list."""
    rows = rows_of(value)
    if not all(map(is_mapping, rows)):
        raise InvalidRequest(f"{param} must have objects only.", param=param)
    return rows


def error_event(error: RequestError, stream_id: str | None = None) -> Event:
    """The message for a refused or failed request."""
    status, body = error.status, error.body()["error"]
    if isinstance(error, NotFound) and error.param == "previous_response_id":  # As OpenAI's service says it.
        status, body = 400, {**body, "code": "previous_response_not_found"}
    return in_lane({"type": "error", "status": status, "error": body}, stream_id)


def in_lane(event: Event, stream_id: str | None) -> Event:
    """An event with its lane, if the client chose one."""
    return event if stream_id is None else {**event, "stream_id": stream_id}
