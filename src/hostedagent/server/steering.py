"""The events of steering: new input for a running response, which the next response takes over.

`accepted` means that the server has received the input; the successor's `response.created` confirms that it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.server.frames import Steer

MAX_STEERS: Final = 8
"""Inputs that wait for the end of one response."""

SteerError: TypeAlias = Literal[
    "response_not_found",
    "invalid_input",
    "steering_not_supported",
    "too_many_pending_steers",
    "response_already_completed",
    "response_not_active",
    "successor_creation_failed",
]

MESSAGES: Final[Mapping[SteerError, str]] = {
    "response_not_found": "No response that runs here has this id.",
    "invalid_input": "input must be a string, or an array of user messages with text, images and files.",
    "steering_not_supported": "A response of a conversation, or with context_management, cannot be steered.",
    "too_many_pending_steers": f"At most {MAX_STEERS} inputs may wait for a response.",
    "response_already_completed": "The response has ended. Send the input with response.create.",
    "response_not_active": "The response has failed or was cancelled. Send the input with response.create.",
    "successor_creation_failed": "The response that was to take over the input could not be created.",
}
"""Error code to its message."""

_ANSWERS: Final[Mapping[str, str]] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
"""A call that the client answers, to the type of its answer."""


class Accepted(Struct, frozen=True):
    """An accepted input."""

    id: str
    steer: Steer

    def event(self, kind: Literal["accepted", "pending"], number: int, **more: Json) -> Event:
        """The event that confirms it to the client."""
        steer = {"id": self.id, "previous_response_id": self.steer.response_id}
        return {"type": f"response.steer.{kind}", "sequence_number": number, "steer": steer, **more}


def failed(steer: Steer, code: SteerError, number: int, *, steer_id: str | None = None) -> Event:
    """The event that returns an unused input."""
    named: dict[str, Json] = {"previous_response_id": steer.response_id, "input": steer.input}
    if steer_id is not None:
        named["id"] = steer_id
    message = steer.error if code == "invalid_input" and steer.error else MESSAGES[code]
    error = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "response.steer.failed", "sequence_number": number, "steer": named, "error": error}


def steer_refusal(steer: Steer, request: TurnRequest | None, waiting: int) -> SteerError | None:
    """Why an input is refused; `None` if it is accepted."""
    if steer.request is None:
        return "invalid_input"
    if request is not None and (request.conversation_id is not None or request.compact_threshold is not None):
        return "steering_not_supported"
    return "too_many_pending_steers" if waiting >= MAX_STEERS else None


def input_of(steers: Iterable[Accepted]) -> tuple[Item, ...]:
    """The items of inputs, in their order."""
    requests = (one.steer.request for one in steers)
    return tuple(item for request in requests if request is not None for item in request.input)


def required_input(output: Sequence[Item]) -> list[dict[str, Json]]:
    """Stubs of the items that the client must send to continue a response: answers to open calls and requests."""
    answered = {item.get("call_id") for item in output if str(item.get("type")).endswith("_output")}
    stubs: list[dict[str, Json]] = []
    for item in output:
        kind, call_id = str(item.get("type")), item.get("call_id")
        if kind == "mcp_approval_request":
            stubs.append({"type": "mcp_approval_response", "approval_request_id": item["id"]})
        elif kind in _ANSWERS and call_id not in answered:
            name = {"name": item["name"]} if kind == "function_call" else {}
            stubs.append({"type": _ANSWERS[kind], "call_id": call_id, **name})
    return stubs
