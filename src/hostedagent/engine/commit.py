"""Ends a turn in the stores: commits the state for later turns, or rolls back a failed turn."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from hostedagent.conversation.history.base import StatefulRun
from hostedagent.engine.context import HostServices, TurnContext
from hostedagent.engine.recovery import Recovery
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.types import Json
from hostedagent.stores.sessions import Snapshot, saving

logger = logging.getLogger(__name__)


class TurnCommit(Struct, frozen=True):
    """Saves how one turn ended."""

    services: HostServices
    context: TurnContext

    def unchanged(self) -> Snapshot:
        """The snapshot of a turn whose agent never ran: the state of the turn before it."""
        before = self.context.continuation.snapshot
        workflow = before.workflow.named() if before.workflow is not None else None
        return Snapshot(before.session, open=before.open, workflow=workflow)

    async def commit(
        self,
        response: Mapping[str, Json],
        snapshot: Snapshot,
        run: StatefulRun | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        """Save a turn: its response, its snapshot, and its place as the head of its conversation.

        Raises:
            Exception: Saving failed, so the turn has failed.
        """
        request, lease = self.context.request, self.context.continuation.lease
        sessions, store = self.services.sessions, self.services.responses
        if lease is not None:
            await sessions.ensure_valid(lease)  # Nothing may be stored after another turn has taken over.
        is_kept = request.store or bool(snapshot.approvals)
        if run is not None and is_kept:
            snapshot = replace(snapshot, workflow=await run.save())
        snapshot.check()  # A snapshot that cannot be stored fails the turn before it is stored as completed.
        if recovery is not None:
            await recovery.run_ended(response, snapshot)
        kept = snapshot if is_kept else Snapshot()
        if not store.is_stored(request.response_id) or not store.has_transactions:
            await self._commit_in_order(response, kept)
        elif lease is None:
            await store.commit(response, [saving(request.response_id, kept)])
        else:
            change = await sessions.freeing(lease, response_id=request.response_id, has_snapshot=bool(kept))
            await store.commit(response, [saving(request.response_id, kept), change])
            sessions.let_go(lease)
        if run is not None and is_kept:
            await run.prune()

    async def _commit_in_order(self, response: Mapping[str, Json], snapshot: Snapshot) -> None:
        """Save a turn in a store without transactions.

        The snapshot has no effect until the response is completed. The response then counts as the head of its
        conversation, even if the process dies before it is recorded as such: `inherit` finds it.
        """
        request, lease = self.context.request, self.context.continuation.lease
        sessions, store = self.services.sessions, self.services.responses
        is_early = store.is_stored(request.response_id)
        await sessions.save(request.caller, request.response_id, replace(snapshot, is_early=is_early))
        if lease is not None:
            lease.enter("ending")  # Who reads the response as completed may continue at once.
        await store.commit(response)
        if lease is not None:
            await sessions.release(lease, response_id=request.response_id, has_snapshot=bool(snapshot))

    async def roll_back(
        self, response: Mapping[str, Json] | None, *, items: Iterable[Mapping[str, str] | None], has_run: bool
    ) -> None:
        """Roll back a failed turn: release what it took, and keep its items out of later prompts.

        Every step is attempted, even if an earlier one fails.

        Raises:
            StoreUnavailable: The final response could not be stored.

        Args:
            response: The final response; `None` if the driver stores it.
        """
        request, continuation = self.context.request, self.context.continuation
        sessions, store, lease = self.services.sessions, self.services.responses, continuation.lease
        # A turn that continues a failed one continues the turn before it.
        before = continuation.snapshot
        own = (*store.active.input_ids(request.response_id), *(item["id"] for item in items if item is not None))
        snapshot = Snapshot(before.session, open=before.open, excluded=own)
        if lease is None and before.workflow is not None:  # A conversation is continued from its head, which has it.
            snapshot = replace(snapshot, workflow=before.workflow.named())
        steps: list[Coroutine[None, None, None]] = []
        if not has_run:  # First: the next turn of the conversation may give the answer again.
            steps.append(self.services.approvals.restore(request.caller, continuation.answers, continuation.attempt))
        if lease is not None:
            steps.append(sessions.release(lease, excluded=own))
        if request.store:
            steps.append(sessions.save(request.caller, request.response_id, snapshot))
        for step in steps:
            try:
                await step
            except Exception as error:  # noqa: BLE001 - the caller receives the turn's own failure
                log_failure(logger, f"Rolling back the failed turn {request.response_id} did not work", error)
        if response is not None:
            is_lost = lease is not None and lease.state == "lost"  # Another turn may be reading the conversation now.
            await store.commit({**response, "output": []} if is_lost else response)

    async def release(self) -> None:
        """Release the lease of a turn that was saved before."""
        if (lease := self.context.continuation.lease) is not None:
            await self.services.sessions.release(lease)

    async def suspend(self) -> None:
        """Let go of the lease without releasing it: the turn continues in another process, or later in this one."""
        if (lease := self.context.continuation.lease) is not None:
            await self.services.sessions.detach(lease)
            self.services.sessions.let_go(lease)
