"""`McpTools`: the tools of one MCP server, for an agent that all users share.

A context provider, because Agent Framework asks those before every run: it adds the tools that the server has for the
user of the turn. A listing is kept for a while, so a turn that calls none of them does not meet the server at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_framework import AgentSession, Content, ContextProvider, FunctionTool, SessionContext, SupportsAgentRun

from hostedagent.agents.resources import turn_resources
from hostedagent.agents.run import tool_names
from hostedagent.errors import ConfigurationError, InvalidRequest
from hostedagent.mcp.session import HeaderFunction, ServerInTurn, TurnHeaders, Unreachable, warn
from hostedagent.protocol.request.turn_request import TurnRequest, current_turn

if TYPE_CHECKING:
    from mcp import StdioServerParameters
    from mcp.server.mcpserver import MCPServer

    from hostedagent.mcp.client import RemoteTool

logger = logging.getLogger(__name__)

MAX_LISTINGS: Final = 1024
"""Listings kept by one server; the oldest goes."""

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class _Listing:
    tools: Sequence[RemoteTool]
    until: float


class McpTools(ContextProvider):
    """The tools of an MCP server.

    Each turn has a connection of its own, made when something needs it and closed however the turn ends, so no user's
    headers ever reach the session of another. A server that is down or slow costs a turn its tools, nothing else.

    Example:
        ```python
        docs = McpTools("docs", "https://mcp.contoso.com/mcp", headers=sign)
        agent = Agent(client, context_providers=[docs])
        ```

    Args:
        label: What the server is called in logs, in requests for consent and in what the model is told.
        server: Its URL (streamable HTTP), a command (`mcp.StdioServerParameters`), or a server of this process.
        headers: The headers for a turn, from its request; sync or async. Called once a turn, and again when the server
            answers 401. Only for a URL. A `RequestError` that it raises fails the turn; after anything else the turn
            goes on without the tools.
        allowed_tools: The only tools to offer, by the server's names; `None` for all.
        needs_approval: Whether the caller must approve each call; or the server's names of the tools for which so.
        prefix: Goes before each tool's name, with an underscore.
        patience: Seconds to connect, and to list the tools.
        timeout: Seconds for a call.
        list_seconds: How long a listing is used; 0 to list in every turn. Users with different headers never share one.
        retry_seconds: How long a server that could not be reached is left alone.

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
        self._listings: dict[str, _Listing] = {}
        self._down_until = 0.0
        self._asking: set[str] = set()

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Add the tools that the server has for the user of the turn.

        Raises:
            ConfigurationError: No turn of an `AgentHost` is being served.
            UserInputRequiredException: The user must agree before the server lists its tools.
            InvalidRequest: A tool that the caller brought has the name of one of them.
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
        """Whether the agent's tool of that name is one of the server's, and needs the caller's approval."""
        return name in self._asking

    def identity(self, request: TurnRequest, headers: Mapping[str, str]) -> str:
        """What the listing belongs to. Requests of the same identity see the same tools."""
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
        async with held.listing:  # Agents of one workflow may begin at the same time.
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
            self._listings.pop(identity, None)
            self._listings[identity] = _Listing(tools, time.monotonic() + self._list_seconds)
            while len(self._listings) > MAX_LISTINGS:
                del self._listings[next(iter(self._listings))]
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
