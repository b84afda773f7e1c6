"""`McpTools`: the tools of one MCP server, for an agent that all users share.

It is a context provider, which Agent Framework calls before every run, and adds the tools that the server offers the
user of the turn. The tool list is cached for a while, so a turn that calls none of them does not contact the server.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent_framework import AgentSession, Content, ContextProvider, FunctionTool, SessionContext, SupportsAgentRun
from msgspec import Struct

from hostedagent.agents.resources import turn_resources
from hostedagent.agents.run import tool_names
from hostedagent.errors import ConfigurationError, InvalidRequest
from hostedagent.mcp.session import HeaderFunction, ServerInTurn, TurnHeaders, Unreachable, warn
from hostedagent.protocol.request.turn_request import TurnRequest, current_turn
from hostedagent.stores.recent import Recent

if TYPE_CHECKING:
    from mcp import StdioServerParameters
    from mcp.server.mcpserver import MCPServer

    from hostedagent.mcp.client import RemoteTool

logger = logging.getLogger(__name__)

MAX_LISTINGS: Final = 1024
"""Listings kept by one server; the oldest goes."""

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64


class _Listing(Struct, frozen=True):
    tools: Sequence[RemoteTool]
    until: float


class McpTools(ContextProvider):
    """The tools of an MCP server.

    Each turn has its own connection, opened on first use and closed when the turn ends, so the headers of one user
    never reach the session of another. If the server is down or slow, the turn runs without its tools.

    Example:
        ```python
        docs = McpTools("docs", "https://mcp.contoso.com/mcp", headers=sign)
        agent = Agent(client, context_providers=[docs])
        ```

    Args:
        label: Name of the server in logs, consent requests and messages to the model.
        server: Its URL (streamable HTTP), a command (`mcp.StdioServerParameters`), or an in-process server.
        headers: Function that returns the headers of a turn from its request; sync or async. Called once per turn, and
            again when the server answers 401. Only for a URL. If it raises a `RequestError`, the turn fails; after any
            other error the turn runs without the tools.
        allowed_tools: The server's names of the tools to offer; `None` for all.
        needs_approval: Whether the caller must approve each call, or the server's names of the tools that need it.
        prefix: Prefix of each tool's name, joined with an underscore.
        patience: Seconds to connect, and to list the tools.
        timeout: Seconds for a call.
        list_seconds: Seconds for which the tool list is cached; 0 to list in every turn. Users with different headers
            never share a list.
        retry_seconds: Seconds before an unreachable server is tried again.

    Raises:
        ConfigurationError: The `mcp` package is missing, or the values can't work together.
    """

    def __init__(
        self,
        label: str,
        server: str | StdioServerParameters | MCPServer,
        *,
        headers: HeaderFunction | None = None,
        allowed_tools: frozenset[str] | None = None,
        needs_approval: bool | frozenset[str] = False,
        prefix: str | None = None,
        patience: float = 10.0,
        timeout: float = 120.0,
        list_seconds: float = 300.0,
        retry_seconds: float = 30.0,
    ) -> None:
        super().__init__(f"mcp:{label}")
        if importlib.util.find_spec("mcp") is None:
            raise ConfigurationError("McpTools needs the packages mcp and httpx2: pip install mcp httpx2")
        if headers is not None and not isinstance(server, str):
            raise ConfigurationError("McpTools(headers=...) is for a server that is named by its URL.")
        self.label = label
        self._server = server
        self._headers = headers
        self._allowed = allowed_tools
        self._needs_approval = needs_approval
        self._prefix = f"{prefix}_" if prefix else ""
        self._patience = patience
        self._timeout = timeout
        self._list_seconds = list_seconds
        self._retry_seconds = retry_seconds
        self._listings: Recent[str, _Listing] = Recent(MAX_LISTINGS)
        self._down_until = 0.0
        self._asking: set[str] = set()

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Add the tools that the server offers the user of the turn.

        Raises:
            ConfigurationError: Called outside a turn of an `AgentHost`.
            UserInputRequiredException: The user must give consent before the server lists its tools.
            InvalidRequest: A tool of the caller has the name of one of them.
        """
        try:
            request, resources = current_turn(), turn_resources()
        except LookupError:
            raise ConfigurationError(f"McpTools({self.label!r}) works in a turn of an AgentHost only.") from None
        held = resources.hold(self, lambda: self._in_turn(request))
        try:
            listed = await self._listed(held, request)
        except Unreachable as error:
            warn(f"The MCP server {self.label!r} is left out of a turn", error.__cause__ or error)
            return
        taken = tool_names(agent) | {str(getattr(tool, "name", "")) for tool in context.tools}
        context.extend_tools(self.source_id, self._functions(held, listed, taken, request))

    def asks_first(self, name: str) -> bool:
        """Whether the tool belongs to the server and needs the caller's approval."""
        return name in self._asking

    def identity(self, request: TurnRequest, headers: Mapping[str, str]) -> str:
        """The key of the cached tool list. Requests of the same identity see the same tools."""
        digest = hashlib.sha256()
        for name, value in sorted((name.lower(), value) for name, value in headers.items()):
            digest.update(f"{len(name)}:{name}{len(value)}:{value}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _in_turn(self, request: TurnRequest) -> ServerInTurn:
        return ServerInTurn(
            self.label,
            self._server,
            TurnHeaders(self._headers, request),
            patience=self._patience,
            timeout=self._timeout,
        )

    async def _listed(self, held: ServerInTurn, request: TurnRequest) -> Sequence[RemoteTool]:
        async with held.listing:  # Agents of one workflow may start concurrently.
            identity = self.identity(request, await held.headers())
            listing = self._listings.get(identity)
            if listing is not None and time.monotonic() < listing.until:
                return listing.tools
            if time.monotonic() < self._down_until:
                raise Unreachable
            try:
                tools = await held.tools()
            except Unreachable as error:
                if held.is_silent:
                    self._down_until = time.monotonic() + self._retry_seconds
                raise error
            self._down_until = 0.0
            self._listings[identity] = _Listing(tools, time.monotonic() + self._list_seconds)
            return tools

    def _functions(
        self, held: ServerInTurn, listed: Sequence[RemoteTool], taken: frozenset[str], request: TurnRequest
    ) -> list[FunctionTool]:
        made: dict[str, FunctionTool] = {}
        for tool in listed:
            if self._allowed is not None and tool.name not in self._allowed:
                continue
            name = _NOT_IN_NAMES.sub("_", f"{self._prefix}{tool.name}")[:_LONGEST_NAME]
            if name in request.options.tools.names:
                raise InvalidRequest(f"tools: {name!r} is the name of one of the agent's own tools.", param="tools")
            if name in taken or name in made:
                logger.warning(
                    "The tool %r of the MCP server %r is left out: the agent has another tool of that name. "
                    "Give the server a prefix.",
                    tool.name,
                    self.label,
                )
                continue
            made[name] = self._function(held, tool, name)
        return list(made.values())

    def _function(self, held: ServerInTurn, tool: RemoteTool, name: str) -> FunctionTool:
        async def call(**arguments: Any) -> list[Content]:
            return await held.call(tool.name, arguments)

        asks = self._needs_approval if isinstance(self._needs_approval, bool) else tool.name in self._needs_approval
        if asks:
            self._asking.add(name)
        return FunctionTool(
            name=name,
            description=tool.description,
            approval_mode="always_require" if asks else "never_require",
            input_model=tool.schema,
            func=call,
        )
