"""`AgentHost`: options in, services wired, app out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from starlette.middleware import Middleware

from hostedagent.agents.run import known_tools, tool_names
from hostedagent.agents.source import AgentFactory, AgentSource
from hostedagent.agents.workflow_start import start_type
from hostedagent.conversation.continuation import Continuations
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.history.service import ServiceHistory
from hostedagent.conversation.history.session import SessionHistory
from hostedagent.conversation.history.workflow import WorkflowHistory
from hostedagent.engine.active import ActiveTurns
from hostedagent.engine.concurrency import ConcurrencyLimiter
from hostedagent.engine.context import HostServices
from hostedagent.engine.engine import Engine
from hostedagent.engine.event_log import LocalEventLog
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.recovery import Recoveries
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.errors import ConfigurationError
from hostedagent.identity import ScopeResolver
from hostedagent.observability import logging as telemetry
from hostedagent.options import CallerPolicy, HistoryOwner, HostOptions
from hostedagent.platform import is_hosted
from hostedagent.server.admission import Trust
from hostedagent.server.agentserver.app import App, SdkDriver
from hostedagent.server.agentserver.event_streams import SdkEvents
from hostedagent.server.agentserver.middleware import AdmissionMiddleware
from hostedagent.server.agentserver.ownership import EventBuffers
from hostedagent.server.edge import AllowedHosts, EdgeMiddleware
from hostedagent.server.exits import ExitMiddleware
from hostedagent.server.responses import ResponsesApp, ResponsesDriver
from hostedagent.server.serve import Server, serve
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.factory import Stores, default_stores
from hostedagent.stores.instrumentation import TimedStore
from hostedagent.stores.journals import Journals
from hostedagent.stores.running import Running
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from agent_framework import FunctionalWorkflowDefinition, SupportsAgentRun

Driver: TypeAlias = Literal["agentserver", "starlette"]
AClose: TypeAlias = Callable[[], Awaitable[None]]

_HISTORIES: Final[Mapping[HistoryOwner, Callable[[CallerPolicy, Sessions], HistoryPolicy]]] = {
    "replay": lambda caller, _: ReplayHistory(caller),
    "service": lambda caller, sessions: ServiceHistory(caller, sessions.tokens),
    "session": lambda caller, _: SessionHistory(caller),
}


_ARGUMENTS: Final[Mapping[str, tuple[type, str]]] = {
    "options": (HostOptions, "HostOptions(...)"),
    "stores": (Stores, "the result of memory_stores(), sqlite_stores() or foundry_stores()"),
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


_captures: list[list[AgentHost]] = []
"""Where hosts are collected that a module runs while it is loaded; the innermost last."""


@contextmanager
def captured_runs() -> Generator[list[AgentHost]]:
    """Collect the hosts that are run instead of serving them: for a module that another server loads.

    Concurrency: for the whole process, so for a command that loads one module before it serves.
    """
    started: list[AgentHost] = []
    _captures.append(started)
    try:
        yield started
    finally:
        _captures.pop()


def _agentserver(engine: Engine, options: HostOptions, trust: Trust, prefix: str, aclose: AClose) -> App:
    buffers = EventBuffers(are_on_disk=options.resilient_background)
    app = SdkDriver(engine, options, buffers).app(prefix, aclose)
    # Innermost: the SDK's layers add the request id, the server's version and a log line to refusals too.
    admission = Middleware(
        AdmissionMiddleware, engine=engine, options=options, buffers=buffers, trust=trust, prefix=prefix.rstrip("/")
    )
    app.user_middleware.append(admission)
    return app


def _starlette(engine: Engine, options: HostOptions, trust: Trust, prefix: str, aclose: AClose) -> ResponsesApp:
    if options.resilient_background:
        raise ConfigurationError("resilient_background needs AgentHost(driver='agentserver').")
    return ResponsesDriver(RecordedResponses(engine, LocalEventLog()), options, trust).app(prefix, aclose)


_DRIVERS: Final[Mapping[Driver, Callable[[Engine, HostOptions, Trust, str, AClose], App | ResponsesApp]]] = {
    "agentserver": _agentserver,
    "starlette": _starlette,
}


class AgentHost:
    """Serves an agent over the Responses protocol.

    Example:
        ```python
        AgentHost(agent).run()
        ```

    Args:
        agent_or_factory: A `SupportsAgentRun`, shared by all turns and never changed; or a function of no argument or
            of one `TurnRequest`, sync or async, that makes a fresh agent for each turn, which is closed at its end; or
            a functional workflow, the function that `@workflow` decorates.
        options: Limits, history owner and caller policy.
        stores: Where responses, sessions and approvals are kept; by default Foundry when hosted, else memory.
        hooks: What the application does before a run, to updates, and when a turn has ended.
        resolve_scope: Says whose request it is; by default the platform's identity headers.
        prefix: A path below which the routes are served, for example `"/agents/writer"`.
        driver: What serves the routes: `"agentserver"` is the SDK's host, which a Foundry container runs;
            `"starlette"` are the package's own routes, without the SDK between the client and the turn.

    Raises:
        ConfigurationError: The agent or the options cannot work.
    """

    def __init__(
        self,
        agent_or_factory: SupportsAgentRun | AgentFactory | FunctionalWorkflowDefinition,
        *,
        options: HostOptions | None = None,
        stores: Stores | None = None,
        hooks: Hooks | None = None,
        resolve_scope: ScopeResolver | None = None,
        prefix: str = "",
        driver: Driver = "agentserver",
    ) -> None:
        _check_arguments(options=options, stores=stores, hooks=hooks, resolve_scope=resolve_scope, prefix=prefix)
        self._options = options = options or HostOptions()
        self._prefix = prefix.rstrip("/")
        chosen = stores or default_stores(options.retention)
        if options.resilient_background and not chosen.is_durable:
            raise ConfigurationError("resilient_background needs stores that outlive the process: stores=...")
        self._stores = replace(chosen, state=TimedStore(chosen.state))
        state, terms = self._stores.state, self._stores.terms
        self._running, self._journals = Running(state, terms), Journals(state)
        active = ActiveTurns()
        store = ResponseStore(self._stores.responses, active, running=self._running)
        source = AgentSource(agent_or_factory)
        start = start_type(source.sample.workflow) if source.sample is not None else None
        approvals = Approvals(state, ttl=options.retention)
        continuations = Continuations(Sessions(state, terms), approvals, store, start=start)
        self._services = self._wire(source, continuations, store, hooks or Hooks())
        recoveries = Recoveries(
            self._journals, continuations, store, active, SdkEvents(), is_on=options.resilient_background
        )
        if options.resilient_background:
            store.journaled = recoveries
        engine = Engine(
            self._services,
            store=store,
            active=active,
            continuations=continuations,
            recoveries=recoveries,
            limiter=ConcurrencyLimiter(options.max_turns, options.max_waiting),
            reserved_tools=tool_names(source.instance),
            known_tools=known_tools(source.instance) if source.instance is not None else None,
        )
        trust = Trust.of(options, resolve_scope, is_hosted=is_hosted())
        self._app = _DRIVERS[driver](engine, options, trust, prefix, self._aclose)
        self._allowed_hosts = AllowedHosts(options.allowed_hosts)
        self._app.add_middleware(EdgeMiddleware, allowed_hosts=self._allowed_hosts, prefix=self._prefix)
        self._app.add_middleware(ExitMiddleware)

    def _wire(
        self, source: AgentSource, continuations: Continuations, store: ResponseStore, hooks: Hooks
    ) -> HostServices:
        options, sessions = self._options, continuations.sessions
        history = _HISTORIES[options.history](options.caller, sessions)
        if source.instance is not None:
            history.check(source.instance)
        workflows = WorkflowHistory(
            options.caller, sessions, owner=options.history, shows_intermediate=options.show_intermediate
        )
        if source.sample is not None:
            workflows.check(source.sample)
        return HostServices(
            source=source,
            history=history,
            workflows=workflows,
            responses=store,
            sessions=sessions,
            approvals=continuations.approvals,
            run_timeout=options.run_timeout,
            consent_origins=options.consent_origins,
            own_tools=options.own_tools,
            hooks=hooks,
            shutdown=GracefulShutdown(options.shutdown_grace),
        )

    async def _aclose(self) -> None:
        self._journals.close()
        self._running.close()
        telemetry.RECEIVERS.restore()
        await self._services.source.aclose()
        await self._stores.aclose()

    @property
    def app(self) -> App | ResponsesApp:
        """The ASGI application: a Starlette app, for routes, middleware and any ASGI server."""
        return self._app

    @property
    def options(self) -> HostOptions:
        """The options in force."""
        return self._options

    @property
    def agent(self) -> SupportsAgentRun | None:
        """The agent that all turns share; `None` where a factory creates one for each turn."""
        return self._services.source.instance

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
        if _captures:
            _captures[-1].append(self)
            return
        self._allowed_hosts.bind(host)
        serve(self._app, host=host, port=port, server=server, options=self._options, on_listening=on_listening)
