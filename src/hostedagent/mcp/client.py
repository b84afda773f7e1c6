"""Connects to an MCP server and converts tool results. The only module that imports `mcp`; loaded on first use."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import httpx2
from agent_framework import Content
from mcp import Client, MCPError, types
from mcp.client.streamable_http import streamable_http_client
from msgspec import Struct

if TYPE_CHECKING:
    from mcp import StdioServerParameters
    from mcp.server.mcpserver import MCPServer

MAX_TOOLS: Final = 1000
"""Tools taken from one server: a listing that never ends must end."""


_UNAUTHORIZED: Final = 401
_SILENT_CODES: Final = frozenset({types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT})


class Headers(Protocol):
    """Provides the headers of a turn; called again when the server rejects them."""

    async def get(self, *, refused: bool = False) -> Mapping[str, str]:
        """Return the headers; `refused` means that the last ones got 401."""
        ...


class RemoteTool(Struct, frozen=True):
    """A tool as its server describes it."""

    name: str
    description: str
    schema: Mapping[str, Any]


class _TurnAuth(httpx2.Auth):
    """Adds the turn's headers to each request. `mcp` follows redirects within the origin only, so they stay there."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers.update(dict(await self._headers.get()))
        response = yield request
        if response.status_code == _UNAUTHORIZED:  # A long turn may outlive a token.
            request.headers.update(dict(await self._headers.get(refused=True)))
            yield request


@asynccontextmanager
async def connected(
    server: str | StdioServerParameters | MCPServer, headers: Headers, *, patience: float
) -> AsyncGenerator[Client]:
    """Open a connection with the headers of one turn.

    Args:
        server: A URL, a command, or an in-process server.
        patience: Seconds to open the connection; the caller bounds the time of each answer.
    """
    if not isinstance(server, str):
        async with Client(server) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(auth=_TurnAuth(headers), timeout=httpx2.Timeout(patience, read=None)) as http,
        Client(streamable_http_client(server, http_client=http)) as client,
    ):
        yield client


async def list_tools(client: Client) -> list[RemoteTool]:
    """All tools of the server, page by page."""
    tools: list[RemoteTool] = []
    cursor: str | None = None
    while len(tools) < MAX_TOOLS:
        page = await client.list_tools(cursor=cursor)
        tools += [RemoteTool(row.name, row.description or "", row.input_schema) for row in page.tools]
        cursor = page.next_cursor
        if not cursor:
            break
    return tools[:MAX_TOOLS]


async def call_tool(client: Client, name: str, arguments: Mapping[str, Any]) -> list[Content]:
    """Call a tool. A failure that the tool reports is a result that begins with `Error:`.

    Raises:
        MCPError: The server rejects the call, or does not answer in time.
    """
    result = await client.call_tool(name, dict(arguments))
    contents = [_content(row) for row in result.content]
    if not contents and result.structured_content is not None:
        contents = [Content.from_text(json.dumps(result.structured_content, ensure_ascii=False))]
    if result.is_error:
        said = " ".join(row.text for row in contents if row.type == "text" and row.text)
        return [Content.from_text(f"Error: {said or 'the tool failed.'}")]
    return contents or [Content.from_text("The tool returned nothing.")]


def words(error: BaseException) -> str | None:
    """The server's message about a call that it rejects, if it has one."""
    return error.message if isinstance(error, MCPError) and error.code not in _SILENT_CODES else None


def is_forgotten(error: BaseException) -> bool:
    """Whether the server no longer knows the session: it was restarted and has not run the call."""
    if not isinstance(error, MCPError) or error.code != types.INVALID_REQUEST:
        return False
    return "session terminated" in error.message.lower()


def is_silent(error: BaseException) -> bool:
    """Whether the server could not be reached, rather than rejected the call."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_silent, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    if isinstance(error, MCPError):
        return error.code in _SILENT_CODES
    return isinstance(error, TimeoutError | OSError | httpx2.TransportError)


def _content(block: types.ContentBlock) -> Content:
    match block:
        case types.TextContent():
            return Content.from_text(block.text)
        case types.ImageContent() | types.AudioContent():
            return _data(block.data, block.mime_type)
        case types.ResourceLink():
            return Content.from_text(f"[{block.title or block.name}]({block.uri})")
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return Content.from_text(resource.text)
        case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
            return _data(resource.blob, resource.mime_type or "application/octet-stream")
        case _:
            return Content.from_text(block.model_dump_json(by_alias=True, exclude_none=True))


def _data(data: str, media_type: str) -> Content:
    try:
        return Content.from_data(data=base64.b64decode(data), media_type=media_type)
    except binascii.Error:
        return Content.from_text(f"[{media_type} data that cannot be read]")
