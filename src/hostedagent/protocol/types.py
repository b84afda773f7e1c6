"""Types of wire values and effects, shared by every stage.

The SDK's wire payloads are plain dictionaries. They are named here once, so that `Any` stops at this file and
signatures distinguish items from events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct, field

from hostedagent.outcomes import Completed, Failed, Incomplete

if TYPE_CHECKING:
    from agent_framework import UsageDetails

Json: TypeAlias = Any
"""A JSON value: `None`, `bool`, `int`, `float`, `str`, or a list or mapping of these."""

Event: TypeAlias = dict[str, Any]
"""One wire event of a Responses stream; has a `type`."""

Item: TypeAlias = Mapping[str, Any]
"""One input or output item of the Responses protocol; has a `type`."""

MutableItem: TypeAlias = dict[str, Any]
"""An item that is still being built by its codec."""


def is_call_output(item: Item) -> bool:
    """Whether an item is the output of a call, such as `function_call_output`."""
    return str(item.get("type")).endswith("_output")


def answered_calls(items: Iterable[Item]) -> set[Json]:
    """The ids of the calls whose output is among the items."""
    return {item.get("call_id") for item in items if is_call_output(item)}


class CountUsage(Struct, frozen=True):
    """Add `usage` to the turn's count, or replace the count if `replaces` is set."""

    usage: UsageDetails
    replaces: bool


class ApprovalRequest(Struct, frozen=True):
    """A call that runs once a caller has approved it.

    Args:
        request_id: Agent Framework's id of the request.
        server: The provider's server that runs it.
        asked_by: The response that asked first. Calls asked together run together, and some agents use the same request
            id in every conversation.
    """

    request_id: str
    call_id: str | None
    name: str
    arguments: str
    hosted: bool = False
    server: str | None = None
    asked_by: str = field(default="", name="batch")  # As snapshots have it since version 0.1.


class SaveApproval(Struct, frozen=True):
    """Record an approval request before it is sent.

    `item_id` names the `mcp_approval_request` on the wire.
    """

    item_id: str
    request: ApprovalRequest


class EndTurn(Struct, frozen=True):
    """End the run after this part; the turn ends with `outcome`."""

    outcome: Completed | Incomplete | Failed


Effect: TypeAlias = CountUsage | SaveApproval | EndTurn
"""Something that the turn driver must do before the next event is sent."""

Emission: TypeAlias = Event | Effect
