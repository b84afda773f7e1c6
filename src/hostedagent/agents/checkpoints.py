"""Holds a workflow's checkpoint during a run, and encodes it.

Only the last checkpoint of a run is needed, so only that one is held. Agent Framework's file storage encodes it and
restricts the types that decoding may create. Plain data types that the workflow declares are allowed; other types in
the state of executors must be registered by the application.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin, get_type_hints

from agent_framework.exceptions import WorkflowCheckpointException
from pydantic import BaseModel

if TYPE_CHECKING:
    from agent_framework import FileCheckpointStorage, Workflow, WorkflowCheckpoint, WorkflowEvent

_NAME: Final = "checkpoint"


class LastCheckpoint:
    """A `CheckpointStorage` for one run: holds the checkpoint that it starts from, then the newest.

    Agent Framework only logs when a checkpoint cannot be made, so `is_current` says whether the newest is the last.

    Args:
        checkpoint: The one that the run starts from.

    Attributes:
        extra: Values added to the state of every checkpoint from now on.
        after_save: Called with each checkpoint before the run continues.
    """

    def __init__(self, checkpoint: WorkflowCheckpoint | None = None) -> None:
        self.checkpoint = checkpoint
        self.is_current = True
        self.extra: dict[str, Any] = {}
        self.after_save: Callable[[WorkflowCheckpoint], Awaitable[None]] | None = None

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Replace the held checkpoint with a copy of this one."""
        self.checkpoint = copy.deepcopy(checkpoint)
        self.checkpoint.state.update(self.extra)
        self.is_current = True
        if self.after_save is not None:
            await self.after_save(self.checkpoint)
        return checkpoint.checkpoint_id

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """A copy of the checkpoint.

        Raises:
            WorkflowCheckpointException: The id is not that of the held checkpoint.
        """
        if self.checkpoint is None or self.checkpoint.checkpoint_id != checkpoint_id:
            raise WorkflowCheckpointException(f"No checkpoint found with ID {checkpoint_id}")
        return copy.deepcopy(self.checkpoint)

    async def list_checkpoints(self, *, workflow_name: str) -> list[WorkflowCheckpoint]:
        """The held checkpoint, if it belongs to the workflow."""
        latest = await self.get_latest(workflow_name=workflow_name)
        return [latest] if latest is not None else []

    async def delete(self, checkpoint_id: str) -> bool:
        """Does nothing: saving replaces the checkpoint before."""
        return False

    async def get_latest(self, *, workflow_name: str) -> WorkflowCheckpoint | None:
        """A copy of the held checkpoint, if it belongs to the workflow."""
        if self.checkpoint is None or self.checkpoint.workflow_name != workflow_name:
            return None
        return copy.deepcopy(self.checkpoint)

    async def list_checkpoint_ids(self, *, workflow_name: str) -> list[str]:
        """The id of the held checkpoint, if it belongs to the workflow."""
        return [row.checkpoint_id for row in await self.list_checkpoints(workflow_name=workflow_name)]


async def encode(checkpoint: WorkflowCheckpoint, kinds: Iterable[Any]) -> bytes:
    """A checkpoint as bytes.

    Args:
        kinds: Types that it may contain; of these, only plain data is allowed.

    Raises:
        WorkflowCheckpointException: It contains a type that could not be decoded; the message names the type.
    """
    named = copy.copy(checkpoint)
    named.checkpoint_id = _NAME
    named.pending_request_info_events = {
        request_id: event if get_origin(event.response_type) is None else _asking_for(event, object)
        for request_id, event in checkpoint.pending_request_info_events.items()
    }
    # Agent Framework's encoder is internal, and only its file storage is public. The folder can go when the encoder is
    # public: https://github.com/microsoft/agent-framework/issues/4428
    with TemporaryDirectory(prefix="hostedagent-") as folder:
        await _storage(folder, kinds).save(named)
        document = json.loads(await asyncio.to_thread(_file(folder).read_bytes))
    return json.dumps({**document, "checkpoint_id": checkpoint.checkpoint_id}, separators=(",", ":")).encode()


async def decode(data: bytes, kinds: Iterable[Any], answers: Mapping[str, Any]) -> WorkflowCheckpoint:
    """A checkpoint from its bytes.

    Args:
        kinds: Types that it may contain.
        answers: Types of the pending answers, by request id. The data refers to these as classes only, so no instance
            of them is created.

    Raises:
        WorkflowCheckpointException: It contains a type that is not allowed, or is damaged.
    """
    with TemporaryDirectory(prefix="hostedagent-") as folder:
        await asyncio.to_thread(_file(folder).write_bytes, data)
        checkpoint = await _storage(folder, kinds).load(_NAME)
    for request_id, event in checkpoint.pending_request_info_events.items():
        if event.response_type is object and request_id in answers:
            checkpoint.pending_request_info_events[request_id] = _asking_for(event, answers[request_id])
    return checkpoint


def declared(workflow: Workflow) -> Iterator[Any]:
    """The input and output types of a workflow's executors."""
    if not hasattr(workflow, "get_executors_list"):
        yield from _functional_types(workflow)
        return
    for executor in workflow.get_executors_list():
        yield from (*executor.input_types, *executor.output_types, *executor.workflow_output_types)
        inner = getattr(executor, "workflow", None)
        if inner is not None:
            yield from declared(inner)


def _functional_types(workflow: object) -> Iterator[Any]:
    """The parameter and return types of a functional workflow and of its steps."""
    from agent_framework import StepWrapper  # Most workflows are graphs.

    function: Any = getattr(workflow, "__wrapped__", None)
    if function is None:
        return
    yield from _hints(function)
    reached = inspect.getclosurevars(function)
    for value in (*reached.globals.values(), *reached.nonlocals.values()):
        if isinstance(value, StepWrapper):
            yield from _hints(cast("Any", value))


def _hints(function: Any) -> Iterator[Any]:
    try:
        yield from get_type_hints(inspect.unwrap(function)).values()
    except (NameError, TypeError):
        return


def _asking_for(event: WorkflowEvent[Any], kind: Any) -> WorkflowEvent[Any]:
    from agent_framework import WorkflowEvent  # Most hosts have no workflow.

    return WorkflowEvent.request_info(event.request_id, event.source_executor_id, event.data, kind)


def _file(folder: str) -> Path:
    return Path(folder, f"{_NAME}.json")


def _storage(folder: str, kinds: Iterable[Any]) -> FileCheckpointStorage:
    from agent_framework import FileCheckpointStorage  # Most hosts have no workflow.

    found: dict[str, None] = {}
    for kind in kinds:
        _collect(kind, found)
    return FileCheckpointStorage(folder, allowed_checkpoint_types=list(found))


def _collect(kind: Any, found: dict[str, None]) -> None:
    """Plain data types, with those of their fields: creating one runs only code of the application."""
    for argument in get_args(kind):
        _collect(argument, found)
    if not isinstance(kind, type) or not (is_dataclass(kind) or issubclass(kind, BaseModel | Enum)):
        return
    key = f"{kind.__module__}:{kind.__qualname__}"
    if key in found:
        return
    found[key] = None
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):
        return
    for hint in hints.values():
        _collect(hint, found)
