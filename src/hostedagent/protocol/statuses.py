"""The statuses of a response, and the events that end it."""

from __future__ import annotations

from typing import Final

QUEUED: Final = "queued"

RUNNING: Final = (QUEUED, "in_progress")

COUNTED: Final = ("completed", "incomplete")
"""Statuses of responses that later turns can continue."""

ENDED: Final = (*COUNTED, "failed", "cancelled")

END_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")
"""The terminal events of a stream. A cancelled response ends with `response.failed`."""
