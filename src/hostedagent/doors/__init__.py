"""Doors: further protocols on the engine of a host, with its identity, stores, approvals, hooks, limits and telemetry.

`AgentHost(agent, doors=[...])` serves them beside the routes of the Responses protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.lazy import lazy

if TYPE_CHECKING:
    from hostedagent.doors.ag_ui.door import AgUi
    from hostedagent.doors.chat_completions.door import ChatCompletions
    from hostedagent.doors.delivery import Delivery, DeliveryReport, DeliveryTarget, deliver
    from hostedagent.doors.door import Door, Entry
    from hostedagent.doors.invocations.door import Invocations
    from hostedagent.server.exchange import Exchange
    from hostedagent.server.turn import TransformEvent, Turn

_HOME = {
    "AgUi": "hostedagent.doors.ag_ui.door",
    "ChatCompletions": "hostedagent.doors.chat_completions.door",
    "Delivery": "hostedagent.doors.delivery",
    "DeliveryReport": "hostedagent.doors.delivery",
    "DeliveryTarget": "hostedagent.doors.delivery",
    "Door": "hostedagent.doors.door",
    "Entry": "hostedagent.doors.door",
    "Exchange": "hostedagent.server.exchange",
    "Invocations": "hostedagent.doors.invocations.door",
    "TransformEvent": "hostedagent.server.turn",
    "Turn": "hostedagent.server.turn",
    "deliver": "hostedagent.doors.delivery",
}
"""Public name to its module: a process imports the doors that it uses."""

__all__ = [
    "AgUi",
    "ChatCompletions",
    "Delivery",
    "DeliveryReport",
    "DeliveryTarget",
    "Door",
    "Entry",
    "Exchange",
    "Invocations",
    "TransformEvent",
    "Turn",
    "deliver",
]

__getattr__, __dir__ = lazy(__name__, _HOME)
