"""The end of one turn: its outcome is saved before it is reported, or it is left for the process that resumes it.

Only the message of a `RequestError` reaches the caller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from hostedagent.agents.pump import Silent, Stopped
from hostedagent.engine.agent_run import AgentRun
from hostedagent.engine.commit import TurnCommit
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.hooks import tell
from hostedagent.engine.output import EndedEarly, TurnOutput
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.tracing import TurnSpan
from hostedagent.errors import Conflict, RequestError, foreign_attribute
from hostedagent.failures import failed, failure
from hostedagent.observability.logging import log_failure, never_raising
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome, StopCause
from hostedagent.protocol.types import Event, Json
from hostedagent.stores.base import StoreConflict, StoreError, StoreUnavailable
from hostedagent.stores.journals import Ended
from hostedagent.stores.sessions import Snapshot

logger = logging.getLogger(__name__)

LOST: Final = Failed(
    "server_error", "The turn made no progress for too long, and another turn has taken its conversation."
)
SILENT: Final = Failed("timeout", "The agent produced no output within the timeout.")


class Settlement(Struct, kw_only=True):
    """The end of one turn.

    Args:
        outcome: How it ended; `None` until then.
        is_suspended: Whether it was left for the next process.
        is_settled: Whether its outcome was saved, or the failure to save it was handled.
    """

    services: HostServices
    context: TurnContext
    commit: TurnCommit
    agent: AgentRun
    output: TurnOutput
    span: TurnSpan
    recovery: Recovery | None
    outcome: Outcome | None = None
    is_suspended: bool = False
    is_settled: bool = False

    @property
    def may_be_left(self) -> bool:
        """Whether the turn is resumed if it cannot go on here; not if another one has its conversation."""
        return self.recovery is not None and self.recovery.may_be_left and not self.context.continuation.is_lost

    async def settle(self, outcome: Outcome) -> Event | None:
        """Save the outcome and release the conversation, and return the terminal event.

        A turn that cannot be saved has failed, and is rolled back like any failed turn.
        """
        self.outcome, request = outcome, self.context.request
        if self.recovery is not None and await self._is_left(self.recovery, outcome):
            return await self._leave()
        ended = self.recovery.repeats(outcome) if self.recovery is not None else None
        terminal = ended.event() if ended is not None else self.output.terminal(outcome)
        try:
            with self.span.current(request):
                await asyncio.shield(self._save(outcome, terminal, ended))
        except Exception as error:  # noqa: BLE001 - becomes the outcome
            log_failure(logger, f"Saving the turn {request.response_id} failed", error)
            if self.may_be_left and isinstance(error, StoreUnavailable | StoreConflict | Conflict):
                return await self._leave()
            if isinstance(outcome, Completed | Incomplete):
                return await self.settle(LOST if isinstance(error, Conflict) else failed("server_error"))
        self._end_span(outcome)
        self.is_settled = True
        return terminal

    async def _is_left(self, recovery: Recovery, outcome: Outcome) -> bool:
        """Whether the turn is resumed, by another process or later, so that nothing of it is stored now."""
        if outcome in (Cancelled("shutdown"), Cancelled("lost")):
            return True
        try:
            return await recovery.is_elsewhere()
        except StoreError as error:  # Later writes fail too.
            log_failure(logger, f"Looking up who has the turn {self.context.request.response_id} failed", error)
            return False

    async def _leave(self) -> None:
        self.is_suspended = True  # Everything is kept for the resumed turn, including the lease.
        await self.commit.suspend()

    async def _save(self, outcome: Outcome, terminal: Event | None, ended: Ended | None) -> None:
        """Save the outcome.

        Args:
            ended: The end of the run in an earlier process, which is only saved now.
        """
        feed = self.agent.feed
        if ended is not None and self.recovery is not None and self.recovery.is_over:
            return
        if not isinstance(outcome, Completed | Incomplete) or terminal is None:
            await self._roll_back(terminal, ended)
        elif ended is not None and self.recovery is not None and self.recovery.is_saved:
            await self.commit.release()
        elif ended is not None:
            await self.commit.commit(ended.response, ended.snapshot)
        elif feed is not None:
            await self.commit.commit(terminal["response"], self.agent.snapshot(feed), feed.run, self.recovery)
        elif not self.context.continuation.answers:  # Consent was asked for before a run.
            await self.commit.commit(terminal["response"], self.commit.unchanged())
        else:
            await self._roll_back(terminal, ended)

    async def _roll_back(self, terminal: Event | None, ended: Ended | None) -> None:
        response = terminal["response"] if terminal is not None else None
        if ended is None and self.recovery is not None and self.recovery.may_be_left:
            # Any process repeats it from here, whatever of it has been stored.
            cancelled: Mapping[str, Json] = {**self.output.response, "status": "cancelled", "output": []}
            await self.recovery.run_ended(response or cancelled, Snapshot())
        items, has_run = self.output.response["output"], self.agent.feed is not None or ended is not None
        await self.commit.roll_back(response, items=items, has_run=has_run)

    async def finish(self) -> None:
        """Tell the application and the journal how the turn ended.

        A turn that its driver has closed or cancelled is settled first: otherwise its conversation would stay taken. If
        it was interrupted while it was settled, nothing tells how it ended here: it is left, if it can be resumed.
        """
        if self.outcome is None:
            await self.settle(Cancelled(self._cause_of_abandonment()))
        elif not self.is_settled and not self.is_suspended and self.may_be_left:
            await self._leave()
        assert self.outcome is not None
        self._end_span(self.outcome)
        if self.is_suspended:
            return
        is_known = self.recovery is not None and self.recovery.is_over
        if (hook := self.services.hooks.on_outcome) is not None and not is_known:
            with self.span.current(self.context.request):
                await tell(hook, self.context.request, self.outcome)
        if self.recovery is not None:
            await self.recovery.over()

    def _cause_of_abandonment(self) -> StopCause:
        is_resumed = self.recovery is not None and self.recovery.response is not None
        was_told = is_resumed or self.context.queued_at is not None or self.context.is_kept
        is_left = was_told and self.may_be_left
        return "shutdown" if self.services.shutdown.has_begun else "lost" if is_left else "client"

    def _end_span(self, outcome: Outcome) -> None:
        self.span.end(outcome, model=self.output.ending.model, usage=self.output.usage)


def outcome_of(error: BaseException, response_id: str, *, may_be_left: bool) -> Outcome:
    """The outcome of a turn whose run raised an error.

    Args:
        may_be_left: Whether a turn that lost its store or its conversation is left, to be resumed.
    """
    if foreign_attribute(error, "__class__") is not type(error):  # A match would ask for it.
        log_failure(logger, f"The run of {response_id} failed", error)
        return failure(error)
    match error:
        case Stopped(cause="lost") if not may_be_left:
            return LOST
        case Stopped():
            return Cancelled(error.cause)
        case EndedEarly():
            return error.outcome
        case Silent():
            with never_raising():
                logger.error("The run of %s produced nothing within HostOptions.run_timeout.", response_id)
            return SILENT
        case StoreUnavailable() if may_be_left:
            log_failure(logger, f"The run of {response_id} is resumed later", error)
            return Cancelled("lost")
        case RequestError():
            return Failed("invalid_prompt", error.message, error.param)
        case _:
            log_failure(logger, f"The run of {response_id} failed", error)
            return failure(error)
