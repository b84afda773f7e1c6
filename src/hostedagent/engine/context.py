"""The services that all turns of a host share, and the context of one accepted request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from hostedagent.agents.source import AgentSource
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.engine.concurrency import Permit
from hostedagent.engine.flow_control import FlowControl
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.identity import RequestContext
from hostedagent.options import HostOptions
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.base import StoreError
from hostedagent.stores.effects import Effects
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from hostedagent.engine.responses import ResponseStore


class HostServices(Struct, frozen=True, kw_only=True):
    """The services that all turns of a host share.

    Args:
        workflows: Provides the history policy of workflows, which most hosts never need.
        streams_always: Whether the agent streams even if no client reads a stream.
    """

    source: AgentSource
    history: HistoryPolicy
    workflows: Callable[[], HistoryPolicy]
    responses: ResponseStore
    sessions: Sessions
    approvals: Approvals
    effects: Effects
    options: HostOptions
    streams_always: bool
    hooks: Hooks
    shutdown: GracefulShutdown


class TurnContext(RequestContext, kw_only=True):
    """One accepted request, from its acceptance to the end of its turn.

    Args:
        request: The request; ids are added when the turn starts, and `before_run` may change it.
        kept_input: The input items to store, if they were not passed to the SDK.
        is_steered: Whether newer input waits, so that the turn ends once the calls of a step have their results.
        is_steered_by_route: Whether the response that takes over the inputs is begun by the route for steering.
        is_kept: Whether a foreground turn continues without its client, which will ask for it again.
        on_over: Called when the driver has finished with the request; a foreground turn must end then.
        queued_at: When the response was created, in seconds since the epoch, if its turn was queued.
        unstored: Why its response could not be stored, so that nothing was run.
        body: The body of the request, if the engine resumes the driver's background turns.
    """

    request: TurnRequest = TurnRequest(input=())  # Always given; it overrides a field that has a default.
    continuation: Continuation
    permit: Permit
    flow: FlowControl
    kept_input: Sequence[Item] | None = None
    is_steered: bool = False
    is_steered_by_route: bool = False
    is_kept: bool = False
    on_over: Callable[[], None] | None = None
    queued_at: int | None = None
    unstored: StoreError | None = None
    body: Mapping[str, Json] | None = None
