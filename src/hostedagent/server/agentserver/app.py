"""The driver for the SDK's host: registers the handler that runs turns of the engine on `ResponsesAgentServerHost`.

The SDK provides the routes, stores responses through `Provider`, keeps the events of streams, and restarts background
turns after a crash. Its events, signals and identities are translated only here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from azure.ai.agentserver.core import get_request_context
from azure.ai.agentserver.responses import (
    CreateResponse,
    PlatformContext,
    ResponseContext,
    ResponsesAgentServerHost,
    ResponsesServerOptions,
)
from msgspec import Struct

from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import Engine
from hostedagent.engine.hooks import RestoredSession
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.engine.turn import Turn
from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller, RequestContext, current_context, enter_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Json
from hostedagent.server.agentserver.abandonment import Abandonment
from hostedagent.server.agentserver.ownership import EventBuffers
from hostedagent.server.agentserver.provider import Provider, caller_on
from hostedagent.server.agentserver.telemetry import configure
from hostedagent.server.errors import STATUSES, unknown_route
from hostedagent.server.serve import Signalled
from hostedagent.stores.base import StoreUnavailable

if TYPE_CHECKING:
    from hostedagent.engine.snapshots import Snapshots

logger = logging.getLogger(__name__)

_KEEP_ALIVE_VARIABLE: Final = "SSE_KEEPALIVE_INTERVAL"
"""With it the platform asks for keep-alive comments; the SDK obeys it."""


class App(Signalled, ResponsesAgentServerHost):
    """The SDK's app, whose callbacks any server can call."""

    @property
    def port(self) -> int:
        """The port that the environment asks for."""
        return self.config.port

    def register_pre_shutdown_callback(self, fn: Callable[[], None]) -> None:
        """Call `fn` when the signal comes, before requests are drained."""
        super().register_pre_shutdown_callback(fn)
        ResponsesAgentServerHost.register_pre_shutdown_callback(self, fn)


class SdkDriver(Struct, frozen=True):
    """Runs turns for the SDK's host."""

    engine: Engine
    recoveries: Recoveries
    buffers: EventBuffers

    def app(self, prefix: str, aclose: Callable[[], Awaitable[None]], hosts: Sequence[type] = ()) -> App:
        """The SDK's app with this driver behind it, which inherits the routes of further hosts of the SDK."""
        shutdown, keep_alive = self.engine.services.shutdown, int(self.engine.options.keep_alive) or None
        options = ResponsesServerOptions(
            sse_keep_alive_interval_seconds=keep_alive, resilient_background=self.engine.options.resilient_background
        )
        app: App = (type("App", (App, *hosts), {}) if hosts else App)(
            prefix=prefix,
            options=options,
            store=Provider(self.engine.store, self.recall),
            configure_observability=configure,
        )
        if keep_alive is None and not os.environ.get(_KEEP_ALIVE_VARIABLE):
            options.sse_keep_alive_interval_seconds = None  # Newer versions of the SDK have a default of their own.
        app.response_handler(self.handle)
        for status in STATUSES:
            app.add_exception_handler(status, unknown_route)
        app.register_pre_shutdown_callback(shutdown.begin)
        _extend_lifespan(app, shutdown, self.buffers, aclose)
        return app

    async def handle(
        self, request: CreateResponse, context: ResponseContext, cancellation_signal: asyncio.Event
    ) -> AsyncGenerator[Event]:
        """The SDK's response handler: the events of one turn."""
        turn = current_context()
        if isinstance(turn, TurnContext):
            turn.request = _with_ids(turn.request, context)
            recovery = await self.recoveries.begin(turn)
        else:
            turn, recovery = await self._resume(dict(request), context)
        accepted = turn.request
        handle = self.engine.start(turn, recovery)
        abandonment = Abandonment(stores=accepted.store)
        forwarding = self._forward(handle, context, cancellation_signal, accepted, abandonment)
        stopping = asyncio.create_task(forwarding, name="hostedagent-stop")
        if not accepted.background:
            turn.on_over = partial(self._end_with_request, handle, abandonment)
        try:
            async with aclosing(handle.events()) as events, aclosing(abandonment.watch(events)) as watched:
                async for event in watched:
                    yield event
            if handle.is_suspended:
                await self.engine.services.shutdown.taken_back(context.shutdown)
                await context.exit_for_recovery()
        finally:
            stopping.cancel()
            _leave(abandonment, accepted, context)
            if accepted.background and accepted.store:
                self.buffers.release_later(accepted.response_id, accepted.caller.platform_user)

    async def recall(self, response_id: str, platform: PlatformContext | None) -> Caller | None:
        """Find the owner of a response that the SDK resumes without a request; `None` if unknown."""
        known = caller_on(platform)
        if not self.engine.options.resilient_background:
            return known
        return await self.recoveries.recall(known, response_id)

    async def _resume(self, body: Mapping[str, Json], context: ResponseContext) -> tuple[TurnContext, Recovery]:
        response_id = context.response_id
        try:
            current = current_context()
            if current is None or not current.is_request:  # The SDK continues even if reading the response failed.
                current = RequestContext(await self.recall(response_id, context.platform_context) or Caller())
                enter_context(current)
            found: Any = context.persisted_response or await self.engine.store.get(current.caller, response_id)
            request = replace(TurnRequest.parse(body, self.engine.options.caller), caller=current.caller)
            request, continuation, recovery = await self.recoveries.resume(_with_ids(request, context), found)
            return self.engine.reopen(request, continuation), recovery
        except StoreUnavailable as error:
            log_failure(logger, f"The turn {response_id} cannot be resumed now", error)
            self.engine.active.resumed(response_id)
            await context.exit_for_recovery()

    async def _forward(
        self,
        handle: Turn,
        context: ResponseContext,
        signal: asyncio.Event,
        request: TurnRequest,
        abandonment: Abandonment,
    ) -> None:
        """Pass the SDK's signals to the turn, which observes the shutdown itself."""
        await signal.wait()
        _leave(abandonment, request, context)
        if context.client_cancelled:
            handle.stop("client")
        elif not context.shutdown.is_set():
            handle.stop("steered")

    def _end_with_request(self, handle: Turn, abandonment: Abandonment) -> None:
        """End a foreground turn when its request has ended, even without a signal of the SDK."""
        if not self.engine.services.shutdown.has_begun:  # The shutdown then ends it in time.
            handle.stop("client")
            abandonment.leave()


def _leave(abandonment: Abandonment, request: TurnRequest, context: ResponseContext) -> None:
    if context.client_cancelled and not request.background:
        abandonment.leave()


def _with_ids(request: TurnRequest, context: ResponseContext) -> TurnRequest:
    """The request with the ids from the SDK."""
    return replace(
        request,
        response_id=context.response_id,
        conversation_id=context.conversation_id,
        sandbox_session_id=get_request_context().session_id,
        client_headers=dict(context.client_headers),
    )


def _extend_lifespan(
    app: App, shutdown: GracefulShutdown, buffers: EventBuffers, aclose: Callable[[], Awaitable[None]]
) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncGenerator[Any]:
        try:
            async with inner(owner) as state:  # Its end waits for running turns, which need what closes below.
                try:
                    yield state
                finally:
                    shutdown.close()
        finally:
            buffers.close()
            await aclose()

    app.router.lifespan_context = lifespan


_SDK: Final = "azure-ai-agentserver-core"


def prepare_for_snapshots(app: App, snapshots: Snapshots) -> None:
    """Suspend and resume the host when the platform says so.

    Raises:
        ConfigurationError: This version of the SDK knows no snapshots.
    """
    before: Any = getattr(app, "before_snapshot_handler", None)
    after: Any = getattr(app, "after_restore_handler", None)
    if before is None or after is None:
        raise ConfigurationError(
            f"allow_snapshots needs {_SDK} 2.3 or later, and {version(_SDK)} is installed: "
            f"pip install --pre '{_SDK}>=2.3.0b2', or use AgentHost(driver='starlette')."
        )

    async def restored(context: Any) -> None:
        session = RestoredSession(context.session_id, context.restore_id, dict(context.session_env_overrides))
        await snapshots.after(session)

    before(snapshots.before)
    after(restored)
