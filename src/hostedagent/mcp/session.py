"""One MCP server in one turn: its headers, its connection, and calls whose failures never fail the turn.

The connection is opened on first use and lives in a task of its own, because several tasks drive a turn. An unreachable
server costs the connect timeout once; later calls fail at once.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from agent_framework import Content
from agent_framework.exceptions import UserInputRequiredException

from hostedagent.agents.source import Held
from hostedagent.errors import RequestError
from hostedagent.mcp.consent import consent_requests, is_consent_error
from hostedagent.observability.logging import kinds_of
from hostedagent.protocol.request.turn_request import TurnRequest

if TYPE_CHECKING:
    from mcp import Client, StdioServerParameters
    from mcp.server.mcpserver import MCPServer

    from hostedagent.mcp.client import RemoteTool

logger = logging.getLogger(__name__)

HeaderFunction: TypeAlias = Callable[[TurnRequest], Mapping[str, str] | Awaitable[Mapping[str, str]]]

LEAVE_SECONDS: Final = 2.0
"""Seconds that ending a session may take before the connection is cut."""

MAX_WORDS: Final = 2000
"""The longest message of a server's error that the model is shown, in characters."""


class Unreachable(Exception):
    """Raised when the server did not answer."""


class TurnHeaders:
    """The headers of one turn, created once, and again when the server rejects them."""

    def __init__(self, make: HeaderFunction | None, request: TurnRequest) -> None:
        self._make = make
        self._request = request
        self._made: Mapping[str, str] | None = None

    async def get(self, *, refused: bool = False) -> Mapping[str, str]:
        """The headers."""
        if self._made is None or refused:
            self._made = await self._make_them()
        return self._made

    async def _make_them(self) -> Mapping[str, str]:
        if self._make is None:
            return {}
        made = self._make(self._request)
        return dict(await made if inspect.isawaitable(made) else made)


class ServerInTurn:
    """The session of one turn with a server.

    Concurrency: used from any task of the turn; there is at most one connection.

    Args:
        patience: Seconds to connect and to list the tools.
        timeout: Seconds for a call.
    """

    def __init__(
        self,
        label: str,
        server: str | StdioServerParameters | MCPServer,
        headers: TurnHeaders,
        *,
        patience: float,
        timeout: float,
    ) -> None:
        self.is_silent = False
        self.listing = asyncio.Lock()
        self._label = label
        self._server = server
        self._headers = headers
        self._patience = patience
        self._timeout = timeout
        self._connecting = asyncio.Lock()
        self._held: Held | None = None
        self._client: Client | None = None
        self._failure: Exception | None = None

    async def headers(self) -> Mapping[str, str]:
        """The turn's headers.

        Raises:
            RequestError: The application refused the caller.
            Unreachable: Creating the headers failed.
        """
        try:
            async with asyncio.timeout(self._patience):
                return await self._headers.get()
        except RequestError:
            raise
        except Exception as error:
            raise Unreachable from error

    async def tools(self) -> Sequence[RemoteTool]:
        """List the server's tools.

        Raises:
            UserInputRequiredException: The user must give consent first.
            Unreachable: The server did not answer with a list of tools.
        """
        transport = await _transport()
        try:
            client = await self._connected(transport)
            async with asyncio.timeout(self._patience):
                return await transport.list_tools(client)
        except (UserInputRequiredException, Unreachable):
            raise
        except Exception as error:
            self._ask_for_consent(error)
            self._failure = error
            self.is_silent = transport.is_silent(error)
            raise Unreachable from error

    async def call(self, name: str, arguments: Mapping[str, Any]) -> list[Content]:
        """Call a tool. Any failure except missing consent becomes a result that the model reads.

        Raises:
            UserInputRequiredException: The user must give consent first.
        """
        transport = await _transport()
        try:
            try:
                return await self._call(transport, name, arguments)
            except Exception as error:
                if not transport.is_forgotten(error):
                    raise
                return await self._call(transport, name, arguments)
        except (UserInputRequiredException, RequestError):
            raise
        except Exception as error:  # noqa: BLE001 - a failing tool must not fail the turn
            self._ask_for_consent(error)
            words = None if is_consent_error(error) else transport.words(error)
            if words is None:
                warn(f"A call of the tool {name!r} of the MCP server {self._label!r} failed", error)
            return [Content.from_text(f"Error: {words[:MAX_WORDS] if words is not None else self._told(error)}")]

    async def _call(self, transport: Any, name: str, arguments: Mapping[str, Any]) -> list[Content]:
        client = await self._connected(transport)
        try:
            async with asyncio.timeout(self._timeout):
                return await transport.call_tool(client, name, arguments)
        except Exception as error:
            is_lost = transport.is_silent(error) and not isinstance(error, TimeoutError)
            # The next call reconnects, unless a concurrent one already did.
            if (is_lost or transport.is_forgotten(error)) and client is self._client:
                await self._drop()
            raise

    def _told(self, error: Exception) -> str:
        if is_consent_error(error):
            return f"the MCP server {self._label!r} needs the user's consent, and does not say how to get it."
        if isinstance(error, TimeoutError):
            return f"the MCP server {self._label!r} did not answer in time."
        return f"the MCP server {self._label!r} cannot be reached. Go on without it, or try again later."

    def _ask_for_consent(self, error: Exception) -> None:
        if requests := consent_requests(error, self._label):
            raise UserInputRequiredException(requests, "The tool needs the user's consent.") from error

    async def _connected(self, transport: Any) -> Client:
        async with self._connecting:
            if self._failure is not None:
                raise Unreachable from self._failure
            if self._client is None:
                await self.headers()  # An error of creating the headers must not be raised inside the connection.
                self._client = await self._connect(transport)
            return self._client

    async def _connect(self, transport: Any) -> Client:
        self._held = Held(transport.connected(self._server, self._headers, patience=self._patience))
        try:
            async with asyncio.timeout(self._patience):
                return cast("Client", await self._held.entered())
        except BaseException as error:
            await self._drop()
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and not (task is not None and task.cancelling()):
                raise ConnectionError("The connection cancelled itself.") from error
            raise

    async def _drop(self) -> None:
        held, self._held, self._client = self._held, None, None
        if held is not None:
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await held.close()
            except Exception as error:  # noqa: BLE001 - the results are already there
                logger.debug("Leaving the MCP server %r failed: %s.", self._label, type(error).__qualname__)

    async def close(self) -> None:
        """End the session."""
        self._failure = self._failure or Unreachable("The turn has ended.")
        await self._drop()


def warn(what: str, error: BaseException) -> None:
    """Warn with the types of an error, never its text, which may contain an address or a token."""
    logger.warning("%s: %s.", what, kinds_of(error))


async def _transport() -> Any:
    """Import the module that loads `mcp`, off the loop because it takes a second."""
    module: ModuleType = await asyncio.to_thread(importlib.import_module, "hostedagent.mcp.client")
    return module
