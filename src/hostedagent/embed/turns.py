"""Turns for the routes of an application: the application owns HTTP and identity, the engine owns the turn.

Turns behave as under `AgentHost`: refusals before anything runs, leases on conversations, approvals, history, isolation
by caller, hooks, storage.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

from starlette.applications import Starlette
from starlette.middleware import Middleware

from hostedagent.doors.door import Door, Entry, check_doors, entry_of
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.wiring import check_arguments, wire
from hostedagent.identity import ScopeResolver
from hostedagent.options import HostOptions
from hostedagent.platform import is_hosted
from hostedagent.server.admission import Trust
from hostedagent.server.edge import AllowedHosts, EdgeMiddleware, ExitMiddleware
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.fallback import add_fallbacks, openapi_route
from hostedagent.server.models import model_id, model_routes
from hostedagent.server.responses import ResponsesDriver
from hostedagent.server.turns import TurnRunner
from hostedagent.stores.factory import Stores

if TYPE_CHECKING:
    from agent_framework import FunctionalWorkflowDefinition, SupportsAgentRun

    from hostedagent.agents.source import AgentFactory


class Turns(TurnRunner):
    """Runs the turns of an agent for the routes of an application.

    Example:
        ```python
        async with turns.begin(await request.body(), "user-1") as turn:
            return await turn.response()
        ```

    Concurrency: for any number of concurrent turns, on one event loop.

    Args:
        agent_or_factory: An agent, which all turns share, or a factory of agents or workflows, as for `AgentHost`.
        options: Limits, history owner and caller policy.
        stores: Stores of responses, sessions and approvals; by default Foundry when hosted, else memory.
        hooks: The application's functions.
        doors: Further protocols, which `routes` serves too.

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
        doors: Sequence[Door] = (),
    ) -> None:
        check_arguments("Turns", options=options, stores=stores, hooks=hooks)
        options = options or HostOptions()
        self._wired = wire(agent_or_factory, options=options, stores=stores, hooks=hooks)
        super().__init__(self._wired.responses)
        check_doors("Turns", doors)
        self._doors = doors
        self._opened = AsyncExitStack()

    def routes(self, *, resolve_scope: ScopeResolver | None = None) -> Starlette:
        """The routes of the Responses protocol, to be mounted: `app.mount("/agents/writer", turns.routes())`.

        The application that mounts them runs the lifespan: see `lifespan`.

        Args:
            resolve_scope: Determines the user of a request; by default from the platform's identity headers.
        """
        from hostedagent.doors.chat_completions.door import ChatCompletions

        trust = Trust.of(self._options, resolve_scope, is_hosted=is_hosted())
        routes = ResponsesDriver(self._responses, trust).routes()
        for door in (*self._doors, ChatCompletions()):  # The last one: the application may have one with hooks.
            routes.extend(door.routes(self._entry(door, trust)))
        app = Starlette(
            routes=routes,
            middleware=[
                Middleware(ExitMiddleware),
                Middleware(EdgeMiddleware, allowed_hosts=AllowedHosts(self._options.allowed_hosts), prefix=""),
            ],
            exception_handlers=dict.fromkeys(STATUSES, unknown_route),
        )
        agent, allow_model = self._wired.engine.services.source.instance, self._options.caller.allow_model
        models = model_routes(model_id(agent, allow_model=allow_model), trust, "")
        add_fallbacks(app, [*models, openapi_route(app, "", models)])
        return app

    @property
    def lifespan(self) -> Callable[[object], AbstractAsyncContextManager[None]]:
        """The lifespan of an application that serves only these turns: `Starlette(lifespan=turns.lifespan)`."""

        @asynccontextmanager
        async def lifespan(app: object) -> AsyncGenerator[None]:
            async with self:
                yield

        return lifespan

    async def __aenter__(self) -> Self:
        await self._wired.aopen()
        await self._responses.open()
        for door in self._doors:
            entry = self._entry(door, Trust.of(self._options, None, is_hosted=is_hosted()))
            await self._opened.enter_async_context(door.lifespan(entry))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse new turns, wait up to `shutdown_grace` for background turns, and close the agent and the stores."""
        self._responses.engine.services.shutdown.close()
        await self._opened.aclose()
        await self._responses.aclose()
        await self._wired.aclose()

    def _entry(self, door: Door, trust: Trust) -> Entry:
        return entry_of(door, self._responses, trust)
