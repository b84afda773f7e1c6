"""Hooks: functions of the application for requests, updates, outcomes and memory snapshots.

A hook is a function, sync or async. A sync one runs on the event loop and must not block. An error of a hook never
reaches a caller, except for the message of a `RequestError`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Protocol, TypeAlias, cast

from agent_framework import AgentResponseUpdate, Content

from hostedagent.agents.exits import exits_as_errors
from hostedagent.agents.pump import close_stream
from hostedagent.agents.result import reports_failure
from hostedagent.errors import ConfigurationError
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import Outcome
from hostedagent.protocol.request.turn_request import TurnRequest, set_current_turn

logger = logging.getLogger(__name__)

OUTCOME_SECONDS: Final = 10.0
"""Seconds that `on_outcome` may take."""

CHANGEABLE: Final = frozenset({"options", "metadata", "user", "client_headers"})
"""The fields of a request that `before_run` may change."""

Updates: TypeAlias = AgentResponseUpdate | Iterable[AgentResponseUpdate] | None
"""The replacement of an update: another one, several, or none."""


class BeforeRun(Protocol):
    """Inspects a request and may replace it. Called once per turn, before the agent is created."""

    def __call__(self, request: TurnRequest, /) -> TurnRequest | Awaitable[TurnRequest | None] | None:
        """Return the request to use (`dataclasses.replace`), or `None` for this one.

        Only `options`, `metadata`, `user` and `client_headers` may differ; the other fields refer to stored data.

        Concurrency: called for many turns concurrently. `current_turn()` is the request as it was sent.
        Exceptions: a `RequestError` fails the turn as `invalid_prompt`, with its message; any other error fails it as
        `server_error`, without its text. The agent is then not created.
        Cancellation: cancelled with the turn.
        """
        ...


class TransformUpdate(Protocol):
    """Changes the updates of a run, before they become events, stored items and history."""

    def __call__(self, update: AgentResponseUpdate, /) -> Updates | Awaitable[Updates]:
        """Return the replacement: an update, several, or `None` to drop it.

        Return a copy rather than change the update: the agent's own history keeps the object. Dropping an update
        drops its contents, but not the finish reason and the usage. An update that reports a failure of the model's
        service is not passed to the hook.

        Concurrency: one update of a run at a time, in order, in the task that consumes the run; many runs concurrently.
        Exceptions: fail the turn like an error of the run; earlier output is kept.
        Cancellation: cancelled with the run.
        """
        ...


class OnOutcome(Protocol):
    """Receives the outcome of a turn. Called once for every turn that was started, after it was saved."""

    def __call__(self, request: TurnRequest, outcome: Outcome, /) -> object:
        """Handle `Completed`, `Incomplete`, `Failed` or `Cancelled`.

        The terminal event is held back until the hook has returned: until then a caller sees no end of the stream or
        gets no response, and a background response is in progress. Keep it short.

        Concurrency: called for many turns concurrently, each in a task of its own.
        Exceptions: are logged and change nothing.
        Cancellation: cancelled after `OUTCOME_SECONDS`, but not when the caller disconnects.
        """
        ...


@dataclass(frozen=True, slots=True)
class RestoredSession:
    """Which session a restored process serves.

    Args:
        session_id: The platform's sandbox session.
        restore_id: Identifies this copy of the process.
        environment: The variables that differ from the captured process; `os.environ` has them already.
    """

    session_id: str
    restore_id: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class BeforeSnapshot(Protocol):
    """Closes what must not be copied. Called once before the platform captures the process."""

    async def __call__(self) -> None:
        """Close connections, and drop tokens and everything else that belongs to one session or expires.

        Concurrency: no turn runs; the host's stores are still open, and are closed next.
        Exceptions: the process is not captured, and continues to serve.
        Cancellation: cancelled with the platform's request.
        """
        ...


class AfterRestore(Protocol):
    """Opens it again. Called once in each restored process, before its first turn."""

    async def __call__(self, session: RestoredSession, /) -> None:
        """Connect, and read the clock, the environment and random numbers anew.

        Concurrency: no turn runs; the host's stores are open.
        Exceptions: the process is not used as it is; the platform may call the hook again.
        Cancellation: cancelled with the platform's request.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of a host: `AgentHost(agent, hooks=Hooks(...))`.

    Args:
        before_run: See `BeforeRun`.
        transform_update: See `TransformUpdate`.
        on_outcome: See `OnOutcome`; or a `Webhook`.
        before_snapshot: See `BeforeSnapshot`; needs `HostOptions(allow_snapshots=True)`.
        after_restore: See `AfterRestore`; needs `HostOptions(allow_snapshots=True)`.
    """

    before_run: BeforeRun | None = None
    transform_update: TransformUpdate | None = None
    on_outcome: OnOutcome | None = None
    before_snapshot: BeforeSnapshot | None = None
    after_restore: AfterRestore | None = None


async def prepare(hook: BeforeRun, request: TurnRequest) -> TurnRequest:
    """The request that the turn uses, as the hook returns it.

    Raises:
        ConfigurationError: The hook returned another type, or changed a field that must not change.
        Exception: The error of the hook.
    """
    made = hook(request)
    if inspect.isawaitable(made):
        made = await made
    if made is None:
        return request
    if not isinstance(cast("object", made), TurnRequest):
        raise ConfigurationError(f"before_run returned {type(made).__name__!r}, not a TurnRequest or None.")
    names = [row.name for row in fields(TurnRequest) if row.name not in CHANGEABLE]
    if changed := [name for name in names if getattr(made, name) != getattr(request, name)]:
        raise ConfigurationError(f"before_run must not change {', '.join(changed)}: that much is settled already.")
    return made


async def transformed(
    hook: TransformUpdate, stream: AsyncIterable[AgentResponseUpdate]
) -> AsyncGenerator[AgentResponseUpdate]:
    """The updates of a run as the hook returns them."""
    try:
        async for update in stream:
            if reports_failure(update):
                yield update
                continue
            try:
                with exits_as_errors():
                    made = hook(update)
                    if inspect.isawaitable(made):
                        made = await made
                updates = [made] if isinstance(made, AgentResponseUpdate) else list(made or ())
            except Exception:
                await close_stream(stream)
                raise
            for one in updates or _rest(update):
                yield one
            if updates and update.finish_reason is not None and all(row.finish_reason is None for row in updates):
                yield _finish(update)
    except GeneratorExit:
        await close_stream(stream)
        raise


def _rest(dropped: AgentResponseUpdate) -> Iterable[AgentResponseUpdate]:
    """The rest of a dropped update: its usage, and the end of a model call."""
    usage = [content for content in dropped.contents if content.type == "usage"]
    return (_finish(dropped, usage),) if usage or dropped.finish_reason is not None else ()


def _finish(update: AgentResponseUpdate, usage: Sequence[Content] = ()) -> AgentResponseUpdate:
    """The finish reason and its message id, if the update has one."""
    return AgentResponseUpdate(
        contents=[*usage],
        role=update.role,
        author_name=update.author_name,
        agent_id=update.agent_id,
        message_id=update.message_id,
        response_id=update.response_id,
        finish_reason=cast("Any", update.finish_reason),  # Read with a wider type than it is declared.
        raw_representation=update.raw_representation if update.finish_reason is not None else None,
    )


async def tell(hook: OnOutcome, request: TurnRequest, outcome: Outcome) -> None:
    """Report the outcome of a turn. Errors of the hook are not raised; it continues if the caller is cancelled."""
    task = asyncio.create_task(_tell(hook, request, outcome), name="hostedagent-outcome")
    _telling.add(task)
    task.add_done_callback(_telling.discard)
    await asyncio.wait({task})


_telling: Final[set[asyncio.Task[None]]] = set()
"""The loop holds its tasks weakly."""


async def _tell(hook: OnOutcome, request: TurnRequest, outcome: Outcome) -> None:
    set_current_turn(request)
    try:
        with exits_as_errors():
            async with asyncio.timeout(OUTCOME_SECONDS):
                told = hook(request, outcome)
                if inspect.isawaitable(told):
                    await told
    except Exception as error:  # noqa: BLE001 - the turn has ended, and stays as it ended
        log_failure(logger, f"on_outcome of {request.response_id} failed", error)
