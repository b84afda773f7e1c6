"""Holds approval requests back until the end of the run is saved: a run that is resumed would ask under other ids.

Agent Framework ends a run that asks, so nothing else waits. A workflow saves its requests in its checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from hostedagent.engine.recovery import CheckpointedRun, Recovery
from hostedagent.protocol.types import Effect, Event, SaveApproval


class Questions:
    """The events of one turn from its first approval request on.

    Args:
        recovery: The progress of the turn; without it, a turn is not resumed and nothing is held back.
    """

    def __init__(self, recovery: Recovery | None) -> None:
        self._recovery = recovery
        self._events: list[Event] | None = None

    @property
    def unsent(self) -> Sequence[Event]:
        """The events that waited in an earlier process, which has saved the end of the run."""
        return self._recovery.unsent if self._recovery is not None else ()

    @property
    def are_held(self) -> bool:
        """Whether events wait."""
        return self._events is not None

    def see(self, effect: Effect, run: object) -> None:
        """Hold back the events after an approval request.

        Args:
            effect: The effect that was performed.
            run: Runs the agent, if not its own `run` method.
        """
        is_resumable = self._recovery is not None and self._recovery.journal is not None
        if isinstance(effect, SaveApproval) and is_resumable and not isinstance(run, CheckpointedRun):
            self._events = self._events or []

    def hold(self, event: Event) -> bool:
        """Keep an event that must wait; `False` if it need not."""
        if self._events is None:
            return False
        self._events.append(event)
        return True

    def release(self) -> list[Event]:
        """The events that waited, to be sent now; later ones need not wait."""
        events, self._events = self._events or [], None
        return events
