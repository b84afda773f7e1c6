"""`AgentHost`: puts an agent behind the SDK's Responses server. Composes the SDK's app; everything meets here once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from azure.ai.agentserver.core import get_request_context
from azure.ai.agentserver.responses import (
    CreateResponse,
    PlatformContext,
    ResponseContext,
    ResponsesAgentServerHost,
    ResponsesServerOptions,
)

from hostedagent.agents.run import known_tools, tool_names
from hostedagent.agents.source import AgentFactory, AgentSource
from hostedagent.conversation.continuation import Continuations
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.history.service import ServiceHistory
from hostedagent.conversation.history.session import SessionHistory
from hostedagent.conversation.history.workflow import WorkflowHistory
from hostedagent.engine.concurrency import Capacity
from hostedagent.engine.context import Stage, TurnContext
from hostedagent.engine.flow_control import Delivery
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.partial_output import Growing
from hostedagent.engine.recovery import Recoveries, Recovery
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.shutdown import Drain
from hostedagent.engine.turn import Turn
from hostedagent.errors import ConfigurationError
from hostedagent.identity import (
    Caller,
    PlatformScopeResolver,
    RequestContext,
    ScopeResolver,
    current_caller,
    current_context,
    enter_context,
)
from hostedagent.observability import logging as telemetry
from hostedagent.observability.logging import log_failure
from hostedagent.options import CallerPolicy, HistoryOwner, HostOptions
from hostedagent.platform import is_hosted
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event
from hostedagent.server.agentserver.envelope import EnvelopeMiddleware
from hostedagent.server.agentserver.middleware import AdmissionMiddleware, Door
from hostedagent.server.agentserver.ownership import EventBuffers
from hostedagent.server.agentserver.provider import Provider
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.exits import ExitMiddleware
from hostedagent.server.serve import App, Server, serve
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.factory import Stores, default_stores
from hostedagent.stores.instrumentation import measured
from hostedagent.stores.journals import Journals
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.stores.providers import ProviderResponses
from hostedagent.stores.running import Running
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun

logger = logging.getLogger(__name__)

_KEEP_ALIVE_VARIABLE: Final = "SSE_KEEPALIVE_INTERVAL"
"""With it the platform asks for keep-alive comments; the SDK heeds it."""

_HISTORIES: Final[Mapping[HistoryOwner, Callable[[CallerPolicy, Sessions], HistoryPolicy]]] = {
    "replay": lambda caller, _: ReplayHistory(caller),
    "service": lambda caller, sessions: ServiceHistory(caller, sessions.tokens),
    "session": lambda caller, _: SessionHistory(caller),
}


_ARGUMENTS: Final[Mapping[str, tuple[type, str]]] = {
    "options": (HostOptions, "HostOptions(...)"),
    "stores": (Stores, "the result of memory_stores(), file_stores() or foundry_stores()"),
    "hooks": (Hooks, "Hooks(...)"),
    "prefix": (str, "a path such as '/agents/writer'"),
}
"""The keyword arguments of `AgentHost`, and what to pass."""


def _check_arguments(*, resolve_scope: object, **arguments: object) -> None:
    for name, value in arguments.items():
        kind, wanted = _ARGUMENTS[name]
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"AgentHost({name}=...) takes {wanted}, not {value!r:.80}.")
    if resolve_scope is not None and not callable(resolve_scope):
        raise ConfigurationError(f"AgentHost(resolve_scope=...) takes a ScopeResolver, not {resolve_scope!r:.80}.")


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
        stores: Where responses, sessions and approvals are kept; by default Foundry when hosted, else memory.
        hooks: What the application does before a run, to updates, and when a turn has ended.
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
        stores: Stores | None = None,
        hooks: Hooks | None = None,
        resolve_scope: ScopeResolver | None = None,
        prefix: str = "",
    ) -> None:
        _check_arguments(options=options, stores=stores, hooks=hooks, resolve_scope=resolve_scope, prefix=prefix)
        self._options = options = options or HostOptions()
        self._prefix = prefix.rstrip("/")
        self._hooks = hooks or Hooks()
        chosen = stores or default_stores(options.retention)
        self._stores = measured(chosen)
        self._source = AgentSource(agent_or_factory)
        self._buffers = EventBuffers(are_on_disk=options.resilient_background)
        self._drain = Drain(self._options.shutdown_grace)
        self._capacity = Capacity(options.max_turns, options.max_waiting)
        state = self._stores.state
        self._running = Running(state, self._stores.terms)
        self._store = ResponseStore(ProviderResponses(self._stores.responses), running=self._running)
        self._continuations = Continuations(
            Sessions(state, self._stores.terms), Approvals(state, ttl=options.retention), self._store
        )
        self._journals = Journals(state)
        self._recoveries = Recoveries(
            self._journals, self._continuations, self._store, is_on=options.resilient_background
        )
        if options.resilient_background:
            if isinstance(chosen.state, MemoryStateStore):
                raise ConfigurationError("resilient_background needs stores that outlive the process: stores=...")
            self._store.journaled = self._recoveries
        self._stage = self._set()
        self._app = self._compose(prefix)
        door = Door(
            options=options,
            resolve_scope=resolve_scope
            or PlatformScopeResolver(is_hosted=is_hosted(), accepts_protocol_1=options.accepts_protocol_1),
            store=self._store,
            continuations=self._continuations,
            buffers=self._buffers,
            drain=self._drain,
            capacity=self._capacity,
            prefix=self._prefix,
            reserved_tools=tool_names(self._source.instance),
            known_tools=known_tools(self._source.instance) if self._source.instance is not None else None,
            trusts_response_id=is_hosted(),
            trusts_platform_headers=is_hosted() or resolve_scope is None,
        )
        self._app.add_middleware(AdmissionMiddleware, door=door)
        self._app.add_middleware(EnvelopeMiddleware, output_of=self._store.output_of)
        self._app.add_middleware(ExitMiddleware)

    def _set(self) -> Stage:
        history = _HISTORIES[self._options.history](self._options.caller, self._continuations.sessions)
        if self._source.instance is not None:
            history.check(self._source.instance)
        return Stage(
            source=self._source,
            history=history,
            workflows=WorkflowHistory(
                self._options.caller,
                self._continuations.sessions,
                owner=self._options.history,
                shows_intermediate=self._options.show_intermediate,
            ),
            store=self._store,
            sessions=self._continuations.sessions,
            approvals=self._continuations.approvals,
            run_timeout=self._options.run_timeout,
            consent_origins=self._options.consent_origins,
            hooks=self._hooks,
            drain=self._drain,
        )

    def _compose(self, prefix: str) -> App:
        keep_alive = int(self._options.keep_alive) or None
        options = ResponsesServerOptions(
            sse_keep_alive_interval_seconds=keep_alive, resilient_background=self._options.resilient_background
        )
        app = App(
            prefix=prefix,
            options=options,
            store=Provider(self._store, self._recall),
            configure_observability=telemetry.configure,
        )
        if keep_alive is None and not os.environ.get(_KEEP_ALIVE_VARIABLE):
            options.sse_keep_alive_interval_seconds = None  # Newer versions of the SDK put a default of theirs there.
        app.response_handler(self._handle)
        for status in STATUSES:
            app.add_exception_handler(status, unknown_route)
        app.register_pre_shutdown_callback(self._drain.begin)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(owner: Any) -> AsyncGenerator[Any]:
            try:
                async with inner(owner) as state:  # Its end waits for the turns that run, and they need what is below.
                    try:
                        yield state
                    finally:
                        self._drain.close()
            finally:
                self._buffers.close()
                self._journals.close()
                self._running.close()
                telemetry.RECEIVERS.restore()
                await self._source.aclose()
                await self._stores.aclose()

        app.router.lifespan_context = lifespan
        return app

    @property
    def app(self) -> ResponsesAgentServerHost:
        """The ASGI application: a Starlette app, for routes, middleware and any ASGI server."""
        return self._app

    @property
    def options(self) -> HostOptions:
        """The options in force."""
        return self._options

    @property
    def agent(self) -> SupportsAgentRun | None:
        """The agent that all turns share; `None` where a factory creates one for each turn."""
        return self._source.instance

    @property
    def prefix(self) -> str:
        """The path below which the routes are served, without a slash at its end."""
        return self._prefix

    def run(
        self,
        *,
        host: str = "0.0.0.0",
        port: int | None = None,
        server: Server = "uvicorn",
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            host: The address to bind.
            port: The port; by default `PORT`, else 8088.
            server: The ASGI server. uvicorn takes uvloop and httptools where they are installed.
            on_listening: Called once connections are accepted.

        Raises:
            OSError: The address cannot be bound.
        """
        grace = self._options.shutdown_grace
        serve(self._app, host=host, port=port, server=server, grace=grace, on_listening=on_listening)

    async def _recall(self, response_id: str, context: PlatformContext | None) -> Caller | None:
        user, call_id = (context.user_id_key, context.call_id) if context is not None else (None, None)
        if not self._options.resilient_background:
            return Caller(platform_user=user, call_id=call_id)
        return await self._recoveries.recall(response_id, user, call_id)

    async def _begin(self, request: CreateResponse, context: ResponseContext) -> tuple[TurnContext, Recovery | None]:
        turn = current_context()
        if not isinstance(turn, TurnContext):
            return await self._resume(request, context)
        turn.request = _bound(turn.request, context)
        return turn, await self._recoveries.begin(turn.request, turn.continuation)

    async def _resume(self, body: CreateResponse, context: ResponseContext) -> tuple[TurnContext, Recovery]:
        platform, response_id = context.platform_context, context.response_id
        try:
            if current_context() is None:  # The SDK continues although reading the response failed.
                caller = await self._recall(response_id, platform)
                enter_context(RequestContext(caller or Caller()))
            caller = current_caller()
            found: Any = context.persisted_response or await self._store.get(caller, response_id)
            request = replace(TurnRequest.parse(dict(body), self._options.caller), caller=caller)
            request, continuation, recovery = await self._recoveries.resume(_bound(request, context), found)
        except StoreUnavailable as error:
            log_failure(logger, f"The turn {response_id} cannot be resumed now", error)
            self._recoveries.began(response_id)
            await context.exit_for_recovery()
        flow = Delivery(is_bounded=False)
        permit = self._capacity.enter()
        return TurnContext(
            caller=caller, request=request, continuation=continuation, permit=permit, flow=flow
        ), recovery

    async def _handle(
        self, request: CreateResponse, context: ResponseContext, cancellation_signal: asyncio.Event
    ) -> AsyncGenerator[Event]:
        accepted, recovery = await self._begin(request, context)
        bound = accepted.request
        turn = Turn(self._stage, accepted, context, cancellation_signal, recovery)
        events, growing = turn.drive(), Growing(turn.response)
        accepted.continuation.close = events.aclose
        accepted.permit.begin()
        try:
            with self._store.following(bound.response_id, growing.output, refused=accepted.continuation.end):
                # Others are not shown before they have ended.
                seen = growing.watch(events) if bound.background else events
                async with aclosing(seen):
                    async for event in seen:
                        yield event
            if turn.is_suspended:
                await self._drain.taken_back(context.shutdown)
                await context.exit_for_recovery()
        finally:
            accepted.permit.release()
            if bound.background and bound.store:
                self._buffers.release_later(bound.response_id, bound.caller.platform_user)


def _bound(request: TurnRequest, context: ResponseContext) -> TurnRequest:
    """The request with the ids that the SDK gave it."""
    return replace(
        request,
        response_id=context.response_id,
        conversation_id=context.conversation_id,
        sandbox_session_id=get_request_context().session_id,
        client_headers=dict(context.client_headers),
    )
