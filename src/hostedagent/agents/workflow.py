"""Runs a workflow from its checkpoint with the new input, and yields updates like those of any agent.

Updates of inner agents pass through, so their tokens stream; messages are sent whole; any other output becomes text, or
JSON if it is not a string. A request of an executor becomes a function call that carries the JSON schema of the answer.
"""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, cast

from agent_framework import AgentResponse, AgentResponseUpdate, Content, Message
from msgspec import Struct, field
from pydantic import BaseModel

from hostedagent.agents.checkpoints import LastCheckpoint
from hostedagent.agents.workflow_types import answer_schema, describe
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_mapping, rows_of
from hostedagent.protocol.wire import wire_json
from hostedagent.stores.checkpoints import OpenRequest

if TYPE_CHECKING:
    from agent_framework import Workflow, WorkflowEvent

T = TypeVar("T")

_OUTPUTS: Final = ("output", "intermediate", "data")
_PLAIN_REQUEST: Final = "request_info"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")


class WorkflowInput(Struct):
    """The input of a run.

    Args:
        messages: The messages that start the run; unused if there are responses.
        start: The value that starts it instead, for a workflow that does not take messages.
        responses: Answers to the workflow's requests, by request id.
        storage: Holds the checkpoint to continue from, and receives the newest.
        goes_on: Whether the checkpoint is of this very turn, started by an earlier process.
    """

    messages: Sequence[Message]
    start: Any = None
    responses: Mapping[str, Any] = field(default_factory=dict[str, Any])
    storage: LastCheckpoint = field(default_factory=LastCheckpoint)
    tools: Sequence[Any] = ()
    shows_intermediate: bool = True
    goes_on: bool = False
    has_ended: bool = False


async def run_workflow(workflow: Workflow, given: WorkflowInput) -> AsyncGenerator[AgentResponseUpdate]:
    """Run a fresh workflow from its checkpoint until it is idle.

    Cancellation: cancelling the consuming task stops the executors. The workflow cannot run again after that.
    """
    run, storage = cast("Any", workflow.run), given.storage
    every: dict[str, Any] = {"stream": True, "checkpoint_storage": storage, "tools": list(given.tools) or None}
    asked: set[str] = set()
    if given.goes_on and storage.checkpoint is not None:
        asked = set(storage.checkpoint.pending_request_info_events)
    elif storage.checkpoint is not None:
        # Pending requests are emitted again; the caller has them from the turn that asked.
        async for _ in run(checkpoint_id=storage.checkpoint.checkpoint_id, **every):
            pass
    new = _start(given)
    updates = Updates(given.shows_intermediate)
    async for event in run(**new, **every):
        if event.type == "superstep_started":
            storage.is_current = False  # Until the final checkpoint exists.
        if event.type == "request_info" and event.request_id in asked:
            continue
        for update in updates.of(cast("WorkflowEvent[Any]", event)):
            yield update
    given.has_ended = True


def _start(given: WorkflowInput) -> dict[str, Any]:
    if given.goes_on and given.storage.checkpoint is not None:
        return {"checkpoint_id": given.storage.checkpoint.checkpoint_id}
    if given.responses:
        return {"responses": dict(given.responses)}
    return {"message": given.start if given.start is not None else [*given.messages]}


def open_requests(storage: LastCheckpoint) -> dict[str, OpenRequest]:
    """The pending requests of the workflow, by the id that a caller answers."""
    pending = storage.checkpoint.pending_request_info_events if storage.checkpoint is not None else {}
    requests: dict[str, OpenRequest] = {}
    for request_id, event in pending.items():
        asked: object = event.data
        if _is_users(asked):
            wire_id = asked.id if asked.type == "function_approval_request" else asked.call_id
            kind = "approval" if asked.type == "function_approval_request" else "call"
            name = (asked.function_call.name if asked.function_call is not None else asked.name) or asked.type
            requests[wire_id or request_id] = OpenRequest(request_id, name, kind)
        else:
            requests[request_id] = OpenRequest(
                request_id, _name(asked), "info", describe(event.response_type), describe(event.request_type)
            )
    return requests


class Updates:
    """Turns the events of a run into updates."""

    def __init__(self, shows_intermediate: bool) -> None:
        self._shows_intermediate = shows_intermediate
        self._has_usage = False

    def of(self, event: WorkflowEvent[Any]) -> Iterator[AgentResponseUpdate]:
        """The updates of one event; most events have none."""
        if event.type == "request_info":
            yield AgentResponseUpdate(
                contents=[_question(event)], role="assistant", author_name=event.source_executor_id
            )
        elif event.type == "output" or (event.type in _OUTPUTS and self._shows_intermediate):
            yield from self._output(event.data, event.executor_id)
        elif event.type in _OUTPUTS:
            # The output is hidden, but its tokens count.
            for update in self._output(event.data, event.executor_id):
                if usage := [content for content in update.contents if content.type == "usage"]:
                    yield AgentResponseUpdate(contents=usage, role="assistant", author_name=update.author_name)

    def _output(self, data: object, executor_id: str | None) -> Iterator[AgentResponseUpdate]:
        match data:
            case AgentResponseUpdate():
                self._has_usage |= any(content.type == "usage" for content in data.contents)
                update = copy.copy(data)  # The executor keeps its own.
                update.author_name = data.author_name or executor_id
                yield update
            case AgentResponse():
                response: AgentResponse[Any] = data
                for message in response.messages:
                    yield _said(message, executor_id)
                if response.usage_details and not self._has_usage:
                    usage = Content.from_usage(response.usage_details)
                    yield AgentResponseUpdate(contents=[usage], role="assistant", author_name=executor_id)
            case Message():
                yield _said(data, executor_id)
            case _ if messages := _all(Message, data):
                for message in messages:
                    yield _said(message, executor_id)
            case _:
                if contents := _contents(data):
                    yield AgentResponseUpdate(
                        contents=contents, role="assistant", author_name=executor_id, message_id=_new_id()
                    )


def _new_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


def _said(message: Message, executor_id: str | None) -> AgentResponseUpdate:
    return AgentResponseUpdate(
        contents=list(message.contents),
        role=message.role,
        author_name=message.author_name or executor_id,
        message_id=_new_id(),  # Its own id would join it to the part that was streamed before.
        raw_representation=message,
    )


def _contents(data: object) -> list[Content]:
    if isinstance(data, Content):
        return [data]
    if contents := _all(Content, data):
        return contents
    text = as_text(data)
    return [Content.from_text(text)] if text and data is not None else []


def _all(kind: type[T], data: object) -> list[T]:
    """The rows of a list if all are of one kind; otherwise none."""
    rows = rows_of(data)
    found = [row for row in rows if isinstance(row, kind)]
    return found if len(found) == len(rows) else []


def as_text(data: object) -> str:
    """A string unchanged, any other value as JSON."""
    return data if isinstance(data, str) else wire_json(_plain(data))


def _plain(value: object) -> Json:
    """A value as JSON. Fields are converted one by one: `asdict` would deep-copy values that cannot be copied."""
    match value:
        case BaseModel():
            return value.model_dump(mode="json")
        case Message() | AgentResponse():
            return cast("Message | AgentResponse[Any]", value).text  # Other fields are internal.
        case _ if callable(to_dict := getattr(value, "to_dict", None)) and not isinstance(value, type):
            return to_dict()
        case _ if is_mapping(value):
            return {str(key): _plain(row) for key, row in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(row) for row in cast("Sequence[object]", value)]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {row.name: _plain(getattr(value, row.name)) for row in fields(value)}
        case _:
            return value


def _question(event: WorkflowEvent[Any]) -> Content:
    asked: object = event.data
    if _is_users(asked):
        return asked
    schema = answer_schema(event.response_type)
    arguments = wire_json({"request": _plain(asked), "response_schema": schema})
    question = Content.from_function_call(event.request_id, _name(asked), arguments=arguments, id=event.request_id)
    question.user_input_request = True
    return question


def _is_users(asked: object) -> TypeGuard[Content]:
    """Whether the request is one that an agent asks its user, such as an approval, with an answer format of its own."""
    return isinstance(asked, Content) and bool(asked.user_input_request) and asked.type != "text"


def _name(asked: object) -> str:
    kind = type(asked)
    if kind.__module__ == "builtins":
        return _PLAIN_REQUEST
    return _NOT_IN_NAMES.sub("_", kind.__name__)[:64]
