"""Admits requests for every HTTP driver of the Responses protocol, before the engine sees them.

Resolves the caller from the headers, reads and bounds the body, and parses it once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from hostedagent.errors import Conflict, InvalidRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from hostedagent.identity import Caller, PlatformScopeResolver, ScopeResolver, TokenResolver
from hostedagent.options import HostOptions
from hostedagent.platform import (
    CALL_ID_HEADER,
    CHAT_ISOLATION_HEADER,
    RESPONSE_ID_HEADER,
    SESSION_VARIABLE,
    USER_ID_HEADER,
    USER_ISOLATION_HEADER,
)
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.body import RequestBody, parse_body, parse_object
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

P = ParamSpec("P")
T = TypeVar("T")

_ONCE: Final = frozenset(
    name.encode()
    for name in (USER_ID_HEADER, CALL_ID_HEADER, USER_ISOLATION_HEADER, CHAT_ISOLATION_HEADER, RESPONSE_ID_HEADER)
)
"""Headers that must not be repeated: readers would have to choose one, and would not all choose the same."""

PARSED_AT_ONCE: Final = 32 * 1024
"""Bodies up to this many bytes are parsed on the event loop; a thread costs more than it saves for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Which headers of a request are trusted.

    Args:
        response_id: Whether the header with the id of the new response comes from the platform.
        platform_headers: Whether the platform's identity headers come from the platform. Outside the platform, with
            another resolver, any client could send them.
    """

    resolve_scope: ScopeResolver
    response_id: bool = False
    platform_headers: bool = True
    _tokens: TokenResolver | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        resolver = self.resolve_scope  # Checked once: a runtime check against a protocol is slow.
        object.__setattr__(self, "_tokens", resolver if isinstance(resolver, TokenResolver) else None)

    @classmethod
    def of(cls, options: HostOptions, resolve_scope: ScopeResolver | None, *, is_hosted: bool) -> Trust:
        """The trust of a host with these options."""
        default = PlatformScopeResolver(is_hosted=is_hosted, accepts_protocol_1=options.accepts_protocol_1)
        return cls(
            resolve_scope=resolve_scope or default,
            response_id=is_hosted,
            platform_headers=is_hosted or resolve_scope is None,
        )

    def caller_of(self, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """Resolve the caller of a request.

        Raises:
            InvalidRequest: An identity header is repeated.
            Unauthenticated: The request needs an identity and has none.
        """
        if len(headers) < len(scope["headers"]):
            _refuse_repeated(scope)
        keys, whose = self.resolve_scope(headers)
        token = self._tokens.token(headers) if self._tokens is not None else None
        return Caller(whose, keys, headers.get(USER_ID_HEADER), headers.get(CALL_ID_HEADER), token)

    def trusted(self, scope: Scope) -> Scope:
        """The request without untrusted identity headers."""
        return scope if self.platform_headers else without_headers(scope, USER_ID_HEADER, CALL_ID_HEADER)


async def read_request(
    receive: Receive, options: HostOptions, caller: Caller | None = None
) -> tuple[RequestBody, TurnRequest]:
    """Read and parse the body of a create request.

    Raises:
        RequestError: It is too large, incomplete or invalid.
    """
    return await parse_request(await _read(receive, options), options, caller)


async def parse_request(
    data: bytes, options: HostOptions, caller: Caller | None = None
) -> tuple[RequestBody, TurnRequest]:
    """Parse the body of a create request.

    Raises:
        RequestError: It is too large or invalid.
    """
    if len(data) > options.max_body_bytes:
        raise too_large(options)
    return await parsing(data, _parsed, options, caller)


async def read_fields(receive: Receive, options: HostOptions) -> Mapping[str, Json]:
    """Read and bound the body of any other request; without a body there are no fields.

    Raises:
        RequestError: It is too large, incomplete, or not a JSON object.
    """
    return await read_as(lambda fields: fields, receive, options)


async def read_as(parse: Callable[[Mapping[str, Json]], T], receive: Receive, options: HostOptions) -> T:
    """Read and bound a body, and parse its fields, off the event loop if it is large.

    Raises:
        RequestError: It is too large, incomplete, not a JSON object, or refused by `parse`.
    """
    return await parsing(await _read(receive, options), _fields_as, parse, options)


def _fields_as(data: bytes, parse: Callable[[Mapping[str, Json]], T], options: HostOptions) -> T:
    return parse(parse_body(data, options).fields if data.strip() else {})


async def read_object(receive: Receive, options: HostOptions) -> Mapping[str, Json]:
    """As `read_fields`, for a protocol in which null and the empty string are values."""
    data = await _read(receive, options)
    return await parsing(data, parse_object, options) if data.strip() else {}


async def parsing(data: bytes, parse: Callable[Concatenate[bytes, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a parser; a large body is parsed in a thread, and other requests are served meanwhile."""
    if len(data) <= PARSED_AT_ONCE:
        return parse(data, *args, **kwargs)
    return await asyncio.to_thread(parse, data, *args, **kwargs)


def _parsed(data: bytes, options: HostOptions, caller: Caller | None) -> tuple[RequestBody, TurnRequest]:
    body = parse_body(data, options)
    return body, TurnRequest.parse(body.fields, options.caller, caller)


async def _read(receive: Receive, options: HostOptions) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The request ended before its body was complete.")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > options.max_body_bytes:
            raise too_large(options)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def too_large(options: HostOptions) -> PayloadTooLarge:
    """The error for a body with too many bytes."""
    return PayloadTooLarge(f"The request body is larger than {options.max_body_bytes} bytes.")


def sandbox_session(fields: Mapping[str, Json]) -> str:
    """The platform's session of a request: the body names it, or the container; otherwise it is new."""
    session = fields.get("agent_session_id") or container_session()
    return session if isinstance(session, str) and session else os.urandom(32).hex()[:63]


def container_session() -> str | None:
    """The platform's session that this container serves; `None` where it serves any."""
    return os.environ.get(SESSION_VARIABLE) or None


def refusal(error: RequestError, request_id: str | None) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body and the headers of an error response."""
    content: dict[str, Json] = error.body()
    if request_id:
        content["error"]["additionalInfo"] = {"request_id": request_id}
    body = encode(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-platform-error-source", (error.source or ("user" if error.status < 500 else "platform")).encode()),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    elif error.status == Conflict.status:  # Clients of OpenAI's API send any 409 again unless they are told not to.
        headers.append((b"x-should-retry", b"false"))
    return body, headers


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers with names in lower case; repeated ones are joined with `", "`."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _refuse_repeated(scope: Scope) -> None:
    names = [name for key, _ in scope["headers"] if (name := key.lower()) in _ONCE]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(f"The header {name.decode()} was sent more than once.")


def client_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's own headers, which the agent may read."""
    return {name: text for name, text in headers.items() if name.startswith("x-client-")}


def refuse_media(headers: Mapping[str, str]) -> None:
    """Raise `UnsupportedMediaType` for a compressed body, and for one that a page sends without a preflight."""
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"A body with Content-Encoding {encoding!r} is not read. Send it as it is.")
    # A page of any site may send what is not JSON to any address, this machine's own too, and without being asked.
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "origin" in headers and kind != "application/json":
        raise UnsupportedMediaType(f"Pages of a browser must send application/json, not {kind!r}.")


def without_headers(scope: Scope, *names: str) -> Scope:
    """The request without headers."""
    dropped = {name.encode() for name in names}
    return {**scope, "headers": [row for row in scope["headers"] if row[0].lower() not in dropped]}
