"""The history policy of workflows: the checkpoint is the state of the conversation, with the transcript as a fallback.

Each turn runs a fresh workflow. It is restored from the checkpoint of the continued response and gets the new input; on
a first turn, or if the checkpoint is lost or the workflow has changed, it gets the transcript. Only the checkpoint at
the end of a turn is kept. A conversation keeps that of its head, a chain of responses those of its latest few.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from agent_framework import Message
from agent_framework.exceptions import WorkflowCheckpointException
from msgspec import Struct

from hostedagent.agents.checkpoints import LastCheckpoint, declared, decode, encode
from hostedagent.agents.functional import is_functional, run_functional
from hostedagent.agents.workflow import WorkflowInput, open_requests, run_workflow
from hostedagent.agents.workflow_start import read_start, start_type
from hostedagent.agents.workflow_types import resolve
from hostedagent.conversation.continuation import Continuation, first_new_item
from hostedagent.conversation.history.base import Feed, KeepCheckpoint, ReadHistory
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.conversation.history.session import approval_response, check_rules, new_only
from hostedagent.errors import ConfigurationError, InvalidRequest
from hostedagent.observability.logging import log_failure
from hostedagent.options import CallerPolicy, HistoryOwner
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.stores.checkpoints import OpenRequest, WorkflowState
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, SupportsAgentRun, Workflow, WorkflowCheckpoint

    from hostedagent.agents.served_workflow import ServedWorkflow

logger = logging.getLogger(__name__)

CHAIN_CHECKPOINTS: Final = 8
"""Number of latest responses of a chain that can be continued from their checkpoints."""

_UNNAMED: Final = re.compile(r"WorkflowBuilder-[0-9a-f]{8}-[0-9a-f-]{27}")


class WorkflowHistory:
    """The policy for agents that are workflows."""

    keeps_history = True

    def __init__(
        self, caller: CallerPolicy, sessions: Sessions, *, owner: HistoryOwner, shows_intermediate: bool
    ) -> None:
        self._replay = ReplayHistory(caller, sessions.seals)
        self._trusts_roles = caller.trusts_roles
        self._sessions = sessions
        self._owner = owner
        self._shows_intermediate = shows_intermediate

    def check(self, agent: object) -> None:
        """Refuse a workflow whose checkpoints could not be found again, or whose history is kept elsewhere."""
        given = cast("ServedWorkflow", agent)
        if not given.workflow.name or _UNNAMED.fullmatch(given.workflow.name):
            raise ConfigurationError(
                "A workflow's checkpoints belong to its name, and this one has none of its own: "
                'WorkflowBuilder(name="...", start_executor=...).'
            )
        if self._owner != "replay":
            raise ConfigurationError(
                f"A workflow's checkpoints keep its conversation, and history={self._owner!r} says that somebody else "
                "does. Leave HostOptions(history=...) out."
            )
        if given.context_providers:
            raise ConfigurationError(
                "The context providers of a workflow's agent have no place to keep their state. Give them to the "
                "agents inside the workflow."
            )

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Restore the workflow, or pass it the transcript."""
        workflow, state = cast("ServedWorkflow", agent).workflow, continuation.snapshot.workflow
        if continuation.checkpoint is not None:
            checkpoint = await self._restore(request, continuation.checkpoint, workflow)
            if checkpoint is not None:
                return self._going_on(checkpoint, workflow, request, continuation)
        checkpoint = await self._restore(request, state, workflow) if state is not None else None
        responses = dict(continuation.responses)
        if checkpoint is not None and not responses and is_functional(workflow):
            checkpoint = None  # A function that has ended starts anew, without a state of its own.
        if checkpoint is None:
            if responses or (state is not None and continuation.answers):
                raise InvalidRequest(
                    "The workflow that asked is no longer kept, or has been changed since. Start again.", param="input"
                )
            feed = await self._replay.before(request, continuation, history, agent)
        else:
            feed = await new_only(request, continuation, agent, trusts_roles=self._trusts_roles)
            check_rules(continuation, agent)
            responses |= {row.approval.request_id: approval_response(row) for row in continuation.answers}
        given = WorkflowInput(
            feed.messages,
            None if responses else _start(workflow, request, feed.messages),
            responses,
            LastCheckpoint(checkpoint),
            request.options.tools.for_run(),
            self._shows_intermediate,
        )
        feed.run = WorkflowRun(workflow, given, request, continuation, self._sessions)
        return feed

    def _going_on(
        self, checkpoint: WorkflowCheckpoint, workflow: Workflow, request: TurnRequest, continuation: Continuation
    ) -> Feed:
        given = WorkflowInput(
            [],
            storage=LastCheckpoint(checkpoint),
            tools=request.options.tools.for_run(),
            shows_intermediate=self._shows_intermediate,
            goes_on=True,
        )
        return Feed([], run=WorkflowRun(workflow, given, request, continuation, self._sessions))

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """No session."""
        return None

    async def _restore(
        self, request: TurnRequest, state: WorkflowState, workflow: Workflow
    ) -> WorkflowCheckpoint | None:
        data = await self._sessions.checkpoints.load(request.caller, state.checkpoint)
        if data is None:
            logger.warning("A checkpoint is gone; workflow %r gets the transcript instead.", workflow.name)
            return None
        try:
            found = {row.request_id: resolve(row.answer) for row in state.requests.values()}
            answers = {request_id: kind for request_id, kind in found.items() if kind is not None}
            checkpoint = await decode(data, [*declared(workflow), *_recorded(state.requests)], answers)
        except Exception as error:  # noqa: BLE001 - the transcript is the fallback
            log_failure(logger, f"A checkpoint of workflow {workflow.name!r} cannot be read", error)
            return None
        if workflow.graph_signature_hash not in (None, checkpoint.graph_signature_hash):
            logger.warning(
                "Workflow %r is not built as it was when its checkpoint was made (are the ids of its executors "
                "stable?); it gets the transcript instead.",
                workflow.name,
            )
            return None
        return checkpoint


class WorkflowRun(Struct):
    """The run of one turn, and its checkpoints."""

    workflow: Workflow
    given: WorkflowInput
    request: TurnRequest
    continuation: Continuation
    sessions: Sessions

    def start(self) -> AsyncIterable[AgentResponseUpdate]:
        """Start the run."""
        run = run_functional if is_functional(self.workflow) else run_workflow
        return run(self.workflow, self.given)

    def keep_each(self, keep: KeepCheckpoint) -> None:
        """Store every checkpoint of the run before it continues."""
        storage = self.given.storage

        async def after_save(checkpoint: WorkflowCheckpoint) -> None:
            requests = open_requests(storage)
            try:
                data = await encode(checkpoint, [*declared(self.workflow), *_recorded(requests)])
            except Exception as error:  # noqa: BLE001 - only a failure of the last one is reported
                log_failure(logger, f"A checkpoint of workflow {self.workflow.name!r} cannot be kept", error)
            else:
                await keep(data, requests)

        storage.after_save = after_save

    async def save(self) -> WorkflowState | None:
        """Store the checkpoint at the end of the run; an interrupted run keeps the one before it.

        Raises:
            Exception: It could not be created or decoded.
        """
        storage, before = self.given.storage, self.continuation.snapshot.workflow
        if not self.given.has_ended:
            return before.named() if before is not None else None
        if storage.checkpoint is None or not storage.is_current:
            raise WorkflowCheckpointException("The workflow made no checkpoint at its end; its own log says why.")
        requests = open_requests(storage)
        if not requests and is_functional(self.workflow):
            return None  # The next turn starts the workflow anew.
        kinds = [*declared(self.workflow), *_recorded(requests)]
        data = await encode(storage.checkpoint, kinds)
        saved = await self.sessions.checkpoints.save(self.request.caller, self.request.response_id, data)
        return WorkflowState(saved, requests, self._earlier()[-self._bound :] if self._bound else ())

    async def prune(self) -> None:
        """Delete the oldest checkpoints beyond the limit, once the turn is saved. A failure only costs space."""
        earlier = self._earlier() if self.given.has_ended else ()
        for response_id in earlier[: max(0, len(earlier) - self._bound)]:
            try:
                await self._drop(response_id)
            except Exception as error:  # noqa: BLE001 - the turn is saved
                log_failure(logger, "Dropping an old checkpoint failed", error)

    @property
    def _bound(self) -> int:
        """The number of earlier responses that keep their checkpoints."""
        return 0 if self.request.conversation_id is not None else CHAIN_CHECKPOINTS - 1

    def _earlier(self) -> tuple[str, ...]:
        state = self.continuation.snapshot.workflow
        return (*state.earlier, state.checkpoint.response_id) if state is not None else ()

    async def _drop(self, response_id: str) -> None:
        snapshot = self.continuation.snapshot
        if snapshot.workflow is None or snapshot.workflow.checkpoint.response_id != response_id:
            snapshot = await self.sessions.resume(self.request.caller, response_id)
        if snapshot.workflow is not None:
            await self.sessions.drop_checkpoint(self.request.caller, response_id, snapshot)


def _start(workflow: Workflow, request: TurnRequest, messages: Sequence[Message]) -> Any:
    """The value that starts a workflow; `None` if it takes the messages."""
    kind = start_type(workflow)
    if kind is Message:
        return messages[-1] if messages else None
    return read_start(kind, request.input, first_new_item(request))


def _recorded(requests: Mapping[str, OpenRequest]) -> list[Any]:
    """The types of pending requests and their answers, which executors do not declare."""
    kinds = (resolve(kind) for row in requests.values() for kind in (row.asked, row.answer))
    return [kind for kind in kinds if kind is not None]
