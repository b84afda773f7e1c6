"""`AgentHost`: builds the services from an agent and its options, and the ASGI application from them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from socket import socket
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from starlette.middleware import Middleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from hostedagent.agents.source import AgentFactory
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.sent_events import SentEvents
from hostedagent.engine.snapshots import Snapshots, Suspension
from hostedagent.engine.wiring import Wired, check_arguments, wire
from hostedagent.errors import ConfigurationError
from hostedagent.identity import ScopeResolver
from hostedagent.options import HostOptions
from hostedagent.platform import is_hosted
from hostedagent.server.admission import Trust
from hostedagent.server.edge import AllowedHosts, EdgeMiddleware, ExitMiddleware, add_cors
from hostedagent.server.fallback import OnDemand, add_fallbacks, landing, openapi_route
from hostedagent.server.input_routes import InputRoutes
from hostedagent.server.models import model_id, model_routes
from hostedagent.server.readiness import Readiness, ReadinessMiddleware
from hostedagent.server.serve import Server, serve
from hostedagent.stores.factory import Stores

if TYPE_CHECKING:
    from agent_framework import FunctionalWorkflowDefinition, SupportsAgentRun

    from hostedagent.doors.door import Door
    from hostedagent.engine.concurrency import ConcurrencyLimiter
    from hostedagent.server.agentserver.app import App
    from hostedagent.server.responses import ResponsesApp

Driver: TypeAlias = Literal["agentserver", "starlette"]


_captures: list[list[AgentHost]] = []
"""Lists that collect the hosts which a module runs while it is loaded; the innermost last."""


@contextmanager
def captured_runs() -> Generator[list[AgentHost]]:
    """Collect hosts whose `run` is called instead of serving them, while another server loads a module.

    Concurrency: affects the whole process, so it is meant for a command that loads one module before it serves.
    """
    started: list[AgentHost] = []
    _captures.append(started)
    try:
        yield started
    finally:
        _captures.pop()


def _sdk_app(wired: Wired, trust: Trust, prefix: str, doors: Sequence[Door]) -> App:
    from hostedagent.server.agentserver.app import SdkDriver
    from hostedagent.server.agentserver.middleware import AdmissionMiddleware
    from hostedagent.server.agentserver.ownership import EventBuffers

    engine, options = wired.engine, wired.engine.options
    if options.when_busy in ("interrupt", "steer"):
        raise ConfigurationError(f"when_busy={options.when_busy!r} needs AgentHost(driver='starlette').")
    buffers = EventBuffers(are_on_disk=options.resilient_background)
    hosts = [host for door in doors if (host := door.sdk_host()) is not None]
    app = SdkDriver(engine, wired.recoveries, buffers).app(prefix, wired.aclose, hosts)
    # Innermost, so that the SDK's layers add the request id, the server header and a log line to refusals too.
    admission = Middleware(AdmissionMiddleware, engine=engine, buffers=buffers, trust=trust, prefix=prefix.rstrip("/"))
    app.user_middleware.append(admission)
    app.router.routes[:0] = InputRoutes(engine, trust).routes(prefix.rstrip("/"))
    return app


def _own_app(wired: Wired, trust: Trust, prefix: str) -> ResponsesApp:
    from hostedagent.server.responses import ResponsesDriver

    return ResponsesDriver(wired.responses, trust).app(prefix, wired.aclose)


def _chat_completions(responses: RecordedResponses, trust: Trust, prefix: str) -> Route:
    """The door that every host on our own routes has, unless one of the application's has its path."""

    def build() -> ASGIApp:
        from hostedagent.doors.chat_completions.door import ChatCompletions
        from hostedagent.doors.door import entry_of

        door = ChatCompletions()
        return Router(door.routes(entry_of(door, responses, trust, prefix=prefix)))

    return Route(f"{prefix}/chat/completions", OnDemand(build), methods=["POST"])


def _open_first(app: App | ResponsesApp, aopen: Callable[[], Awaitable[None]]) -> None:
    """Make the startup of an app wait until its stores are open."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncGenerator[Any]:
        await aopen()
        async with inner(owner) as state:
            yield state

    app.router.lifespan_context = lifespan


def _allow_snapshots(app: Any, driver: Driver, snapshots: Snapshots) -> None:
    if driver == "starlette":
        from hostedagent.server.snapshots import SnapshotRoutes

        app.router.routes.extend(SnapshotRoutes(snapshots).routes())
    else:
        from hostedagent.server.agentserver.app import prepare_for_snapshots

        prepare_for_snapshots(app, snapshots)


def _sent_events(driver: Driver) -> SentEvents | None:
    if driver != "agentserver":
        return None
    from hostedagent.server.agentserver.event_streams import SdkEvents

    return SdkEvents()


def _check(driver: Driver, resolve_scope: ScopeResolver | None, prefix: str, doors: Sequence[Door]) -> None:
    if driver not in get_args(Driver):
        raise ConfigurationError(f"AgentHost(driver=...) is one of {', '.join(get_args(Driver))}, not {driver!r:.80}.")
    if resolve_scope is not None and not callable(resolve_scope):
        raise ConfigurationError(f"AgentHost(resolve_scope=...) takes a ScopeResolver, not {resolve_scope!r:.80}.")
    if prefix and not prefix.startswith("/"):
        raise ConfigurationError(f"AgentHost(prefix=...) is a path such as '/agents/writer', not {prefix!r}.")
    if doors:
        from hostedagent.doors.door import check_doors

        check_doors("AgentHost", doors)


class AgentHost:
    """Serves an agent over the Responses protocol.

    Example:
        ```python
        AgentHost(agent).run()
        ```

    Args:
        agent_or_factory: A `SupportsAgentRun`, shared by all turns and never changed; or a function of no argument or
            of one `TurnRequest`, sync or async, that creates a fresh agent for each turn, which is closed at its end;
            or a functional workflow, the function that `@workflow` decorates.
        options: Limits, history owner and caller policy.
        stores: Stores of responses, sessions and approvals; by default Foundry when hosted, else memory.
        hooks: Functions of the application, called before a run, for each update, and after a turn has ended.
        resolve_scope: Determines the user of a request; by default from the platform's identity headers.
        prefix: A path below which the routes are served, for example `"/agents/writer"`.
        doors: Further protocols on the same engine, as in `hostedagent.doors`.
        driver: `"agentserver"` serves through the SDK's host, as a Foundry container does; `"starlette"` serves the
            package's own routes, without the SDK.
        limiter: A limit on concurrent turns that several hosts share; by default that of the options.

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
        doors: Sequence[Door] = (),
        driver: Driver = "agentserver",
        limiter: ConcurrencyLimiter | None = None,
    ) -> None:
        check_arguments("AgentHost", options=options, stores=stores, hooks=hooks, prefix=prefix)
        _check(driver, resolve_scope, prefix, doors)
        self._options = options = options or HostOptions()
        self._prefix = prefix.rstrip("/")
        wired = wire(
            agent_or_factory,
            options=options,
            stores=stores,
            hooks=hooks,
            sent_events=_sent_events(driver),
            service=self._prefix,
            limiter=limiter,
        )
        self._engine = wired.engine
        self._stores = wired.stores
        trust = Trust.of(options, resolve_scope, is_hosted=is_hosted())
        responses = wired.responses
        is_sdk = driver == "agentserver"
        self._app = _sdk_app(wired, trust, prefix, doors) if is_sdk else _own_app(wired, trust, prefix)
        if doors:
            from hostedagent.doors.door import add_doors, entry_of

            add_doors(
                self._app,
                [(door, entry_of(door, responses, trust, prefix=self._prefix)) for door in doors],
                responses=responses if is_sdk else None,
            )
        model = model_id(self.agent, allow_model=options.caller.allow_model)
        fallbacks = [landing(self._prefix), *model_routes(model, trust, self._prefix)]
        if not is_sdk:
            fallbacks.append(_chat_completions(responses, trust, self._prefix))
        add_fallbacks(self._app, [*fallbacks, openapi_route(self._app, self._prefix, fallbacks)])
        add_cors(self._app, options.cors)
        _open_first(self._app, wired.aopen)
        hooks = hooks or Hooks()
        self._suspension = Suspension(wired, responses if not is_sdk or doors else None)
        if options.allow_snapshots:
            _allow_snapshots(self._app, driver, Snapshots(hooks, [self._suspension]))
        elif hooks.before_snapshot is not None or hooks.after_restore is not None:
            raise ConfigurationError("The hooks of memory snapshots need HostOptions(allow_snapshots=True).")
        self._allowed_hosts = AllowedHosts(options.allowed_hosts, origins=options.cors)
        self._app.add_middleware(EdgeMiddleware, allowed_hosts=self._allowed_hosts, prefix=self._prefix)
        self._app.add_middleware(ReadinessMiddleware, readiness=Readiness(self._suspension.check))
        self._app.add_middleware(ExitMiddleware)

    @property
    def app(self) -> App | ResponsesApp:
        """The ASGI application: a Starlette app, for routes, middleware and any ASGI server."""
        return self._app

    @property
    def options(self) -> HostOptions:
        """The options in force."""
        return self._options

    @property
    def stores(self) -> Stores:
        """The stores in force."""
        return self._stores

    @property
    def suspension(self) -> Suspension:
        """Suspends the host for a memory snapshot; `AgentGroup` uses it."""
        return self._suspension

    @property
    def agent(self) -> SupportsAgentRun | None:
        """The agent that all turns share; `None` if a factory creates one for each turn."""
        return self._engine.services.source.instance

    @property
    def sample_workflow(self) -> object | None:
        """A workflow from the factory, for inspection only; `None` if the factory creates something else."""
        sample = self._engine.services.source.sample
        return None if sample is None else sample.workflow

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
        listener: socket | None = None,
    ) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            host: The address to bind.
            port: The port; by default `PORT`, else 8088.
            server: The ASGI server. uvicorn uses uvloop and httptools if they are installed.
            on_listening: Called once connections are accepted.
            listener: A listening socket, for example one that several processes share; uvicorn only.

        Raises:
            OSError: The address cannot be bound.
            ConfigurationError: The startup found that something is configured wrongly, such as the login of a database.
        """
        if _captures:
            _captures[-1].append(self)
            return
        self._allowed_hosts.bind(host)
        serve(
            self._app,
            host=host,
            port=port,
            server=server,
            options=self._options,
            on_listening=on_listening,
            listener=listener,
        )
