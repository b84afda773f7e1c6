"""The words that every stage shares: wire values, outcomes of a turn, effects.

The SDK's wire payloads are plain dictionaries. They are named here once, so that `Any` stops at this file and nothing
deeper has to guess whether a dictionary is an item or an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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

ErrorCode = Literal[
    "rate_limit_exceeded",
    "content_filter",
    "invalid_prompt",
    "authentication_error",
    "timeout",
    "server_error",
]
"""The codes that a failed turn can carry in `response.error.code`."""

IncompleteReason = Literal["max_output_tokens", "content_filter", "consent_required"]

StopCause = Literal["client", "steered", "shutdown", "lost"]
"""Why a turn was stopped: the caller left or cancelled, a newer input came, the process ends, another turn took it."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The run ended by itself and everything was saved."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The run ended before its work was done; what it made is kept."""

    reason: IncompleteReason


@dataclass(frozen=True, slots=True)
class Failed:
    """The run broke; `message` is written for the caller and never holds an exception's text."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The turn was stopped from outside."""

    cause: StopCause


Outcome: TypeAlias = Completed | Incomplete | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class CountUsage:
    """Add `usage` to the turn's count, or put it in place of the count when `replaces`."""

    usage: UsageDetails
    replaces: bool


@dataclass(frozen=True, slots=True)
class SaveApproval:
    """Record what the caller is about to be asked, before the question leaves.

    `item_id` names the `mcp_approval_request` on the wire; `request_id` is the id that Agent Framework waits for.
    """

    item_id: str
    request_id: str
    call_id: str | None
    name: str
    arguments: str
    hosted: bool = False
    server: str | None = None


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The run cannot go on after this part; the turn ends with `outcome`."""

    outcome: Incomplete | Failed


Effect: TypeAlias = CountUsage | SaveApproval | EndTurn
"""Something the turn driver must do before the next event leaves."""

Emission: TypeAlias = Event | Effect
