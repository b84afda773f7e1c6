"""Runs a functional workflow: the function restarts with the results of its steps and all answers so far.

Agent Framework keeps the results of steps in the checkpoint but expects every earlier answer again on each run. The
answers are therefore kept in the checkpoint too, so that a second question does not repeat the first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from agent_framework import AgentResponseUpdate, Content

from hostedagent.agents.checkpoints import LastCheckpoint
from hostedagent.agents.workflow import Updates, WorkflowInput, as_text
from hostedagent.agents.workflow_types import coerce, describe, resolve
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from agent_framework import WorkflowEvent

ANSWERS: Final = "_hostedagent_answers"
"""The key of a checkpoint's state that holds the answers so far; Agent Framework leaves such keys to others."""


def is_functional(workflow: object) -> bool:
    """Whether a workflow is a function rather than a graph of executors."""
    return not hasattr(workflow, "get_executors_list")


async def run_functional(workflow: Any, given: WorkflowInput) -> AsyncGenerator[AgentResponseUpdate]:
    """Run a fresh functional workflow until it completes or asks a question.

    Cancellation: cancelling the consuming task stops the function.
    """
    storage = given.storage
    answers = {**_recall(storage), **given.responses}
    arguments: dict[str, Any] = {"stream": True, "checkpoint_storage": storage}
    if storage.checkpoint is not None and (given.responses or given.goes_on):
        _remember(storage, given.responses)
        arguments["checkpoint_id"] = storage.checkpoint.checkpoint_id
        arguments["responses"] = answers or None
    else:
        storage.extra.pop(ANSWERS, None)
        arguments["message"] = given.start if given.start is not None else [*given.messages]
    updates = Updates(given.shows_intermediate)
    async for event in workflow.run(**arguments):
        if isinstance(event, AgentResponseUpdate):
            yield event
            continue
        for update in updates.of(cast("WorkflowEvent[Any]", event)):
            yield update
    given.has_ended = True


def _recall(storage: LastCheckpoint) -> dict[str, Any]:
    """Load the answers of earlier turns and keep them in the checkpoints of this run."""
    kept: Json = storage.checkpoint.state.get(ANSWERS) if storage.checkpoint is not None else None
    if not kept:
        return {}
    storage.extra[ANSWERS] = dict(kept)
    return {request_id: _load(row) for request_id, row in kept.items()}


def _remember(storage: LastCheckpoint, responses: Mapping[str, Any]) -> None:
    pending = storage.checkpoint.pending_request_info_events if storage.checkpoint is not None else {}
    rows = storage.extra.setdefault(ANSWERS, {})
    for request_id, value in responses.items():
        event = pending.get(request_id)
        rows[request_id] = _dump(value, event.response_type if event is not None else type(value))


def _dump(value: Any, kind: Any) -> Json:
    if isinstance(value, Content):
        return {"content": value.to_dict()}
    return {"type": describe(kind), "output": as_text(value)}


def _load(row: Mapping[str, Json]) -> Any:
    if "content" in row:
        return Content.from_dict(row["content"])
    return coerce(resolve(row["type"]), row["output"], "output")
