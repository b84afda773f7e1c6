"""How a turn ends in the stores: everything that later turns need of one that counts, little of one that does not."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace

from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import StatefulRun
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.responses import ResponseStore
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.sessions import Sessions, Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Saving:
    """Saves how one turn ended.

    Args:
        sessions: Snapshots and leases.
        approvals: The questions that the turn answers.
        store: The response store.
        continuation: What the turn continues.
    """

    sessions: Sessions
    approvals: Approvals
    store: ResponseStore
    continuation: Continuation

    async def keep(
        self,
        request: TurnRequest,
        response: Mapping[str, Json],
        snapshot: Snapshot,
        run: StatefulRun | None,
        recovery: Recovery | None = None,
    ) -> None:
        """Save a turn that counts: its response, what it leaves, and that it is the conversation's head now.

        Raises:
            Exception: Something could not be saved; the turn has failed then.
        """
        sessions, lease = self.sessions, self.continuation.lease
        if lease is not None:
            await sessions.secure(lease)  # What is stored after another turn took over would be in its way.
        leaves = request.store or bool(snapshot.approvals)
        if run is not None and leaves:
            snapshot = replace(snapshot, workflow=await run.save())
        snapshot.check()  # What cannot be kept fails the turn before it is stored as completed.
        if recovery is not None:
            await recovery.run_ended(response, snapshot)
        await self.store.commit(response)
        if leaves:
            await sessions.save(request.scope, request.response_id, snapshot)
        if lease is not None:
            await sessions.release(lease, response_id=request.response_id, has_snapshot=bool(snapshot))
        if run is not None and leaves:
            await run.prune()

    async def leave(
        self,
        request: TurnRequest,
        response: Mapping[str, Json] | None,
        *,
        made: Iterable[Mapping[str, str] | None],
        has_run: bool,
    ) -> None:
        """Save what a turn leaves that does not count. Each step is worth taking when another one fails.

        Args:
            request: The turn.
            response: The response as it ended; `None` when the SDK tells that.
            made: The output items of the turn.
            has_run: Whether the agent was run.
        """
        sessions, lease = self.sessions, self.continuation.lease
        # Who continues a failed turn continues what came before it.
        before = self.continuation.snapshot
        own = (*self.store.input_ids(request.response_id), *(item["id"] for item in made if item is not None))
        snapshot = Snapshot(before.session, open=before.open, excluded=own)
        if lease is None and before.workflow is not None:  # A conversation is continued from its head, which has it.
            snapshot = replace(snapshot, workflow=before.workflow.named())
        steps: list[Coroutine[None, None, None]] = []
        if lease is not None:
            steps.append(sessions.release(lease, excluded=own))
        if request.store:
            steps.append(sessions.save(request.scope, request.response_id, snapshot))
        if response is not None:
            steps.append(self.store.commit(response))
        if not has_run:
            steps.append(self.approvals.restore(request.scope, self.continuation.answers))
        for step in steps:
            try:
                await step
            except Exception as error:  # noqa: BLE001 - the caller is told of the turn's own failure
                log_failure(logger, f"Saving how {request.response_id} failed did not work", error)
