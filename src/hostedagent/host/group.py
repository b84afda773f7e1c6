"""Several agents in one process: each below `/agents/NAME`, and all of them at the root, by name.

At the root, `agent_reference.name` selects the agent, else a `model` that is an agent's name, else the first agent is
used. A response or a conversation is searched for in every agent. The agents share the limit of turns, but not data.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from hostedagent.engine.concurrency import ConcurrencyLimiter
from hostedagent.engine.snapshots import Snapshots
from hostedagent.errors import ConfigurationError, NotFound
from hostedagent.host import AgentHost
from hostedagent.options import HostOptions
from hostedagent.platform import is_hosted
from hostedagent.protocol.json import decode
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_object
from hostedagent.server.edge import AllowedHosts, EdgeMiddleware
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.models import group_models
from hostedagent.server.responses import ResponsesApp
from hostedagent.server.serve import serve

if TYPE_CHECKING:
    from hostedagent.doors.door import Door
    from hostedagent.engine.hooks import Hooks
    from hostedagent.identity import ScopeResolver
    from hostedagent.stores.factory import Stores

_NAME: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,64}")
_PATH: Final = re.compile(r"/agents/(?P<name>[^/]+)(?:/.*)?")


class AgentGroup:
    """Serves several agents in one process, on the package's own routes.

    Args:
        agents: The agents or their factories, as for `AgentHost`, by name; the first one is the default.
        options: The options of each; `max_turns` and `max_waiting` are for all of them together.
        stores: The stores of an agent, by its name, which keep their data apart; by default each has its own in memory,
            and when hosted its own part of those of Foundry.
        hooks: As for `AgentHost`.
        resolve_scope: As for `AgentHost`.
        doors: The doors of an agent; called for each.

    Raises:
        ConfigurationError: There is no agent, a name is none, or an agent or the options cannot work.
    """

    def __init__(
        self,
        agents: Mapping[str, Any],
        *,
        options: HostOptions | None = None,
        stores: Callable[[str], Stores] | None = None,
        hooks: Hooks | None = None,
        resolve_scope: ScopeResolver | None = None,
        doors: Callable[[], Sequence[Door]] = tuple,
    ) -> None:
        if not agents:
            raise ConfigurationError("AgentGroup({...}) needs an agent.")
        for name in agents:
            check_name(name)
        self._options = options = options or HostOptions()
        limiter = ConcurrencyLimiter(options.max_turns, options.max_waiting)
        self._hosts = {
            name: AgentHost(
                agent,
                options=options,
                stores=(stores or _default_stores)(name),
                hooks=hooks,
                resolve_scope=resolve_scope,
                prefix=f"/agents/{name}",
                doors=doors(),
                driver="starlette",
                limiter=limiter,
            )
            for name, agent in agents.items()
        }
        self._allowed_hosts = AllowedHosts(options.allowed_hosts, origins=options.cors)
        self._app = self._built()
        if options.allow_snapshots:
            from hostedagent.engine.hooks import Hooks
            from hostedagent.server.snapshots import SnapshotRoutes

            snapshots = Snapshots(hooks or Hooks(), [host.suspension for host in self._hosts.values()])
            self._app.router.routes[:0] = SnapshotRoutes(snapshots).routes()

    @property
    def app(self) -> ResponsesApp:
        """The ASGI application."""
        return self._app

    @property
    def hosts(self) -> Mapping[str, AgentHost]:
        """The hosts of the agents, by name."""
        return self._hosts

    def run(
        self, *, host: str = "0.0.0.0", port: int | None = None, on_listening: Callable[[], None] | None = None
    ) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            host: The address to bind.
            port: The port; by default `PORT`, else 8088.
            on_listening: Called once connections are accepted.

        Raises:
            OSError: The address cannot be bound.
        """
        self._allowed_hosts.bind(host)
        serve(self._app, host=host, port=port, server="uvicorn", options=self._options, on_listening=on_listening)

    def _built(self) -> ResponsesApp:
        apps = {name: host.app for name, host in self._hosts.items()}

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncGenerator[None]:
            async with AsyncExitStack() as opened:
                for one in apps.values():
                    await opened.enter_async_context(one.router.lifespan_context(one))
                yield

        app = ResponsesApp(
            routes=[
                group_models(apps),
                *(Route(f"/agents/{name}/{{rest:path}}", one) for name, one in apps.items()),
            ],
            lifespan=lifespan,
            exception_handlers=dict.fromkeys(STATUSES, unknown_route),
        )
        for one in apps.values():
            app.register_pre_shutdown_callback(one.tell)
        app.router.default = _Dispatch(apps, self._options.max_body_bytes)
        app.add_middleware(EdgeMiddleware, allowed_hosts=self._allowed_hosts, prefix="")
        return app


def check_name(name: str) -> None:
    """Check the name of an agent, which is a part of its path.

    Raises:
        ConfigurationError: It is empty, too long, or has other characters than a path keeps as they are.
    """
    if not _NAME.fullmatch(name):
        said = "use 1 to 64 letters, digits, '.', '_' and '-', and not only dots"
        raise ConfigurationError(f"{name!r:.80} is not a name of an agent: {said}.")


def _default_stores(agent: str) -> Stores | None:
    from hostedagent.stores.factory import foundry_stores

    return foundry_stores(agent=agent) if is_hosted() else None


class _Dispatch:
    """Routes each request to its agent."""

    def __init__(self, apps: Mapping[str, Any], most: int) -> None:
        self._apps = apps
        self._default = next(iter(apps))
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        found = _PATH.fullmatch(scope["path"])
        if found is not None and found["name"] in self._apps:
            await self._apps[found["name"]](scope, receive, send)
        elif scope["type"] != "http" or found is not None:
            await self._serve(self._default, scope, receive, send)
        else:
            await self._choose(scope, receive, send)

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages = await self._read(receive)
        try:
            name = self._named(messages)
        except NotFound as error:
            await JSONResponse(error.body(), error.status)(scope, receive, send)
            return
        names = [name] if name is not None else list(self._apps)
        for one in names[:-1]:
            kept = _KeepNotFound(send)
            await self._serve(one, scope, _again(messages, receive), kept)
            if not kept.is_missing:
                return
        await self._serve(names[-1], scope, _again(messages, receive), send)

    async def _serve(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["path"].startswith("/agents/") else f"/agents/{name}{scope['path']}"
        await self._apps[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async def _read(self, receive: Receive) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while size <= self._most:  # The agent's own app refuses a larger body.
            messages.append(message := await receive())
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        return messages

    def _named(self, messages: Sequence[Message]) -> str | None:
        """The agent that a body names; `None` for a request without a body, which may concern any agent.

        Raises:
            NotFound: There is no such agent.
        """
        data = b"".join(message.get("body", b"") for message in messages)
        if not data.strip():
            return None
        try:
            body: Json = decode(data)
        except (ValueError, RecursionError):
            return self._default
        fields = body if is_object(body) else dict[str, Json]()
        reference = fields.get("agent_reference")
        name = reference.get("name") if is_object(reference) else None
        if name is not None and name not in self._apps:
            known = ", ".join(self._apps)
            raise NotFound(f"There is no agent {name!r:.80} here. Use one of {known}.", param="agent_reference.name")
        model = fields.get("model")
        return name or (model if isinstance(model, str) and model in self._apps else self._default)


class _KeepNotFound:
    """Forwards a response unless it is a 404."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_missing = False

    async def __call__(self, message: Message) -> None:
        self.is_missing = self.is_missing or message.get("status") == 404
        if not self.is_missing:
            await self._send(message)


def _again(messages: Sequence[Message], receive: Receive) -> Receive:
    left = list(messages)

    async def read() -> Message:
        return left.pop(0) if left else await receive()

    return read
