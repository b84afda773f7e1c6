"""Builds the engine of an agent: every driver, and applications with routes of their own, get it from here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hostedagent.agents.source import AgentFactory, AgentSource
from hostedagent.agents.workflow_start import start_type
from hostedagent.conversation.continuation import Continuations
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.engine.concurrency import ConcurrencyLimiter
from hostedagent.engine.context import HostServices
from hostedagent.engine.engine import Engine
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import LoggedSentEvents, SentEvents
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.errors import ConfigurationError
from hostedagent.observability import logging as telemetry
from hostedagent.observability.logging import log_failure
from hostedagent.options import HostOptions
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.base import EventLog, Store, StoreUnavailable
from hostedagent.stores.effects import Effects
from hostedagent.stores.factory import Stores, default_stores
from hostedagent.stores.instrumentation import TimedStore
from hostedagent.stores.journals import Journals
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.local import LocalEventLog
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.running import Running
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from agent_framework import FunctionalWorkflowDefinition, SupportsAgentRun

    from hostedagent.engine.waiting import WaitingRules
    from hostedagent.stores.background import BackgroundTurns
    from hostedagent.webhooks.deliveries import Deliveries

logger = logging.getLogger(__name__)


# What few hosts use is imported by those that use it: each module prolongs the start of a process.
def _history(options: HostOptions, sessions: Sessions) -> HistoryPolicy:
    match options.history:
        case "replay":
            return ReplayHistory(options.caller, sessions.seals, options.compaction)
        case "service":
            from hostedagent.conversation.history.service import ServiceHistory

            return ServiceHistory(options.caller, sessions.tokens)
        case "session":
            from hostedagent.conversation.history.session import SessionHistory

            return SessionHistory(options.caller)


def _workflows(options: HostOptions, sessions: Sessions) -> HistoryPolicy:
    from hostedagent.conversation.history.workflow import WorkflowHistory

    return WorkflowHistory(
        options.caller, sessions, owner=options.history, shows_intermediate=options.show_intermediate
    )


class Wired(Struct, frozen=True):
    """An engine with the resources to close at its end."""

    engine: Engine
    recoveries: Recoveries
    """Journals and resumes the background turns of the driver."""

    responses: RecordedResponses
    """The responses that the engine stores: those of the package's own routes and of doors."""

    stores: Stores
    journals: Journals
    running: Running
    deliveries: Deliveries | None

    async def aopen(self) -> None:
        """Open the stores. Unreachable ones are tried again by each request.

        Raises:
            ConfigurationError: Their configuration is invalid.
            RuntimeError: They were closed before.
        """
        if self.engine.services.shutdown.has_closed:
            raise RuntimeError(
                "This AgentHost or Turns was closed, with its agent, and cannot be opened again. Create a new one."
            )
        try:
            await self.stores.aopen()
        except StoreUnavailable as error:
            log_failure(logger, "The stores cannot be reached yet", error)
        if self.deliveries is not None:
            self.deliveries.open()

    async def aclose(self) -> None:
        """Close the agent and the stores."""
        if self.deliveries is not None:
            await self.deliveries.aclose()
        self.journals.close()
        self.running.close()
        self.engine.services.sessions.retries.close()
        telemetry.RECEIVERS.restore()
        await self.engine.services.source.aclose()
        await self.stores.aclose()


def check_arguments(name: str, **arguments: object) -> None:
    """Check the arguments that every host takes.

    Raises:
        ConfigurationError: One has the wrong type.
    """
    for argument, value in arguments.items():
        kind, wanted = _ARGUMENTS[argument]
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"{name}({argument}=...) takes {wanted}, not {value!r:.80}.")


_ARGUMENTS: Final[Mapping[str, tuple[type, str]]] = {
    "options": (HostOptions, "HostOptions(...)"),
    "stores": (Stores, "the result of memory_stores(), sqlite_stores(), postgres_stores() or foundry_stores()"),
    "hooks": (Hooks, "Hooks(...)"),
    "prefix": (str, "a path such as '/agents/writer'"),
}
"""The keyword arguments of `AgentHost` and `Turns`, and what to pass."""


def wire(
    agent_or_factory: SupportsAgentRun | AgentFactory | FunctionalWorkflowDefinition,
    *,
    options: HostOptions,
    stores: Stores | None = None,
    hooks: Hooks | None = None,
    sent_events: SentEvents | None = None,
    service: str = "",
    limiter: ConcurrencyLimiter | None = None,
) -> Wired:
    """Build the engine of an agent.

    Args:
        agent_or_factory: The agent, or a factory that creates one for each turn.
        stores: Stores of responses, sessions and approvals; by default Foundry when hosted, else memory.
        sent_events: Reads the events that earlier processes sent, for a driver that keeps them itself and resumes its
            background turns itself; without it the engine does both, as for the turns of doors.
        service: Distinguishes the hosts of several agents that share stores.
        limiter: A limit on concurrent turns that several hosts share.

    Raises:
        ConfigurationError: The agent or the options cannot work.
    """
    chosen = stores or default_stores(options.retention)
    chosen = replace(chosen, state=TimedStore(chosen.state))
    state, leases = chosen.state, chosen.leases
    events = chosen.events or (_stored_events(state) if options.resilient_background else LocalEventLog())
    is_own = sent_events is None and options.resilient_background
    _check_background(options, chosen, is_own=is_own)
    is_resumed = options.resilient_background and (is_own or not chosen.needs_request)  # There is no request then.
    turns = _background(state, leases, service) if is_resumed else None
    journals = turns if is_own and turns is not None else Journals(state)
    running = Running(state, leases)
    logged = LoggedSentEvents(events)
    store = ResponseStore(
        chosen.responses,
        running=running,
        state=state,
        journals=journals if options.resilient_background else None,
        logs=[sent_events, logged] if sent_events is not None else [logged],
    )
    source = AgentSource(agent_or_factory)
    start = start_type(source.sample.workflow) if source.sample is not None else None
    approvals = Approvals(state, ttl=options.retention)
    continuations = Continuations(Sessions(state, leases), approvals, store, start=start)
    own = recoveries = Recoveries(turns or journals, continuations, store, logged, is_on=is_resumed)
    if sent_events is not None:
        is_on = options.resilient_background
        recoveries = Recoveries(journals, continuations, store, sent_events, is_on=is_on)
    hooks, deliveries = _with_webhook(hooks or Hooks(), chosen, store, service)
    services = _services(source, continuations, store, options, hooks, Effects(state, store.was_deleted))
    if limiter is None:
        limiter = ConcurrencyLimiter(options.max_turns, options.max_waiting)
    engine = Engine(services, continuations, limiter, events, chosen.signals)
    rules = _waiting_rules(chosen, options, service) if is_own else None
    responses = RecordedResponses(engine, own, turns, rules)
    return Wired(engine, recoveries, responses, chosen, journals, running, deliveries)


def _stored_events(state: Store) -> EventLog:
    from hostedagent.stores.stored_events import StoredEventLog

    return StoredEventLog(state, poll=0.5)


def _background(state: Store, leases: LeaseSettings, service: str) -> BackgroundTurns:
    from hostedagent.stores.background import BackgroundTurns

    return BackgroundTurns(state, leases, service=service)


def _with_webhook(hooks: Hooks, stores: Stores, store: ResponseStore, service: str) -> tuple[Hooks, Deliveries | None]:
    """The hooks of a host, and what delivers its webhook if it has one."""
    if hooks.on_outcome is None:
        return hooks, None
    from hostedagent.stores.outbox import StoredOutbox
    from hostedagent.webhooks.deliveries import Deliveries, noting
    from hostedagent.webhooks.webhook import Webhook

    if not isinstance(hooks.on_outcome, Webhook):
        return hooks, None
    clock, liveness = stores.leases.clock, stores.leases.liveness
    made = stores.outbox(service) if stores.outbox is not None else StoredOutbox(stores.state, clock, service=service)
    deliveries = Deliveries(hooks.on_outcome, made, store, liveness, clock)
    return replace(hooks, before_run=noting(deliveries, hooks.before_run), on_outcome=deliveries.end), deliveries


def _check_background(options: HostOptions, stores: Stores, *, is_own: bool) -> None:
    if options.resilient_background and not stores.is_durable:
        raise ConfigurationError("resilient_background needs stores that outlive the process: stores=...")
    if is_own and stores.needs_request:
        raise ConfigurationError(
            "resilient_background resumes turns without a request, and foundry_stores() needs one on "
            "AgentHost(driver='starlette'): use driver='agentserver', or stores such as postgres_stores()."
        )
    if options.max_queued and not is_own:
        raise ConfigurationError("max_queued needs resilient_background=True and AgentHost(driver='starlette').")


def _waiting_rules(stores: Stores, options: HostOptions, service: str) -> WaitingRules | None:
    """The queue of background turns, where turns may wait in one."""
    if not options.max_queued:
        return None
    from hostedagent.engine.waiting import WaitingRules
    from hostedagent.stores.turn_queue import QueueLimits, StoredTurnQueue

    if not isinstance(stores.responses, StoredResponses):
        raise ConfigurationError("max_queued needs stores whose responses can wait, such as postgres_stores().")
    most, most_each = options.max_queued, options.max_queued_per_user
    made = stores.queue(service) if stores.queue is not None else None
    queue = made or StoredTurnQueue(stores.state, stores.leases.clock, service=service)
    return WaitingRules(queue, QueueLimits(most, most if most_each is None else most_each), service)


def _services(
    source: AgentSource,
    continuations: Continuations,
    store: ResponseStore,
    options: HostOptions,
    hooks: Hooks,
    effects: Effects,
) -> HostServices:
    sessions = continuations.sessions
    history = _history(options, sessions)
    if source.instance is not None:
        history.check(source.instance)
    workflows = cache(partial(_workflows, options, sessions))
    if source.sample is not None:
        workflows().check(source.sample)
    return HostServices(
        source=source,
        history=history,
        workflows=workflows,
        responses=store,
        sessions=sessions,
        approvals=continuations.approvals,
        effects=effects,
        options=options,
        streams_always=_streams_always(options, hooks),
        hooks=hooks,
        shutdown=GracefulShutdown(options.shutdown_grace),
    )


def _streams_always(options: HostOptions, hooks: Hooks) -> bool:
    """Whether a hook or an option needs the updates of a run, so that it must stream even without a reader."""
    is_watched = hooks.transform_update is not None or options.run_timeout is not None or options.when_busy == "steer"
    return is_watched or options.agent_streaming == "always"
