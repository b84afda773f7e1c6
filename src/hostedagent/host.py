"""`AgentHost`: puts an agent behind the SDK's Responses server. Composes the SDK's app; everything meets here once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from azure.ai.agentserver.responses import (
    CreateResponse,
    InMemoryResponseProvider,
    ResponseContext,
    ResponsesAgentServerHost,
    ResponsesServerOptions,
)

from hostedagent import telemetry
from hostedagent.admission import AdmissionMiddleware
from hostedagent.history.policy import HistoryPolicy
from hostedagent.history.replay import ReplayHistory
from hostedagent.identity import PlatformScopeResolver, ScopeResolver
from hostedagent.policy import CallerPolicy, HostOptions
from hostedagent.protocol.envelope import EnvelopeMiddleware
from hostedagent.request.turn import ADMITTED, TurnRequest
from hostedagent.run.agent import tool_names
from hostedagent.source import AgentFactory, AgentSource
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.stores.responses import ResponseStore, ScopedProviders
from hostedagent.turn import Stage, Turn
from hostedagent.types import Event

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun

HOSTING_VARIABLE = "FOUNDRY_HOSTING_ENVIRONMENT"
"""Set by the platform inside a hosted-agent container."""


class AgentHost:
    """Serves an agent over the Responses protocol.

    Example:
        ```python
        AgentHost(agent).run()
        ```

    Args:
        agent_or_factory: A `SupportsAgentRun`, shared by all turns and never changed; or a function of no argument or
            of one `TurnRequest`, sync or async, that makes a fresh agent for each turn, which is closed at its end.
        options: Limits, history owner and caller policy.
        resolve_scope: Says whose request it is; by default the platform's identity headers.
        prefix: A path below which the routes are served, for example `"/agents/writer"`.

    Raises:
        ConfigurationError: The agent or the options cannot work.
    """

    def __init__(
        self,
        agent_or_factory: SupportsAgentRun | AgentFactory,
        *,
        options: HostOptions | None = None,
        resolve_scope: ScopeResolver | None = None,
        prefix: str = "",
    ) -> None:
        options = options or HostOptions()
        is_hosted = bool(os.environ.get(HOSTING_VARIABLE))
        self._options = options
        self._source = AgentSource(agent_or_factory)
        self._store = _response_store()
        self._stage = Stage(
            source=self._source,
            history=_history(options.history, options.caller),
            store=self._store,
            run_timeout=options.run_timeout,
        )
        self._app = self._compose(prefix)
        self._app.add_middleware(
            AdmissionMiddleware,
            options=options,
            resolve_scope=resolve_scope or PlatformScopeResolver(is_hosted=is_hosted),
            prefix=prefix.rstrip("/"),
            store=self._store,
            reserved_tools=tool_names(self._source.instance),
        )
        self._app.add_middleware(EnvelopeMiddleware)

    def _compose(self, prefix: str) -> ResponsesAgentServerHost:
        keep_alive = int(self._options.keep_alive) or None
        app = ResponsesAgentServerHost(
            prefix=prefix,
            options=ResponsesServerOptions(sse_keep_alive_interval_seconds=keep_alive),
            store=self._store,
            configure_observability=telemetry.configure,
        )
        app.response_handler(self._handle)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(owner: Any) -> AsyncGenerator[Any]:
            async with inner(owner) as state:
                try:
                    yield state
                finally:
                    await self._source.aclose()

        app.router.lifespan_context = lifespan
        return app

    @property
    def app(self) -> ResponsesAgentServerHost:
        """The ASGI application: a Starlette app, for routes, middleware and any ASGI server."""
        return self._app

    def run(self, *, host: str = "0.0.0.0", port: int | None = None) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            host: The address to bind.
            port: The port; by default `PORT`, else 8088.
        """
        self._app.run(host=host, port=port)

    async def _handle(
        self, request: CreateResponse, context: ResponseContext, cancellation_signal: asyncio.Event
    ) -> AsyncGenerator[Event]:
        admitted = ADMITTED.get()
        if admitted is None:  # A turn taken up again after a crash did not come through admission.
            admitted = TurnRequest.parse(dict(request), self._options.caller)
        turn = Turn(self._stage, admitted.bound(context), context, cancellation_signal)
        async for event in turn.drive():
            yield event


def _response_store() -> ResponseStore:
    return ResponseStore(ScopedProviders(lambda scope: InMemoryResponseProvider()), MemoryStateStore())


def _history(owner: str, caller: CallerPolicy) -> HistoryPolicy:
    return ReplayHistory(caller)
