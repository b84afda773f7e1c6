"""State that a client shares with the agent, as `current_turn().state`: notices what tools have changed in it."""

from __future__ import annotations

import logging
from typing import Final

from pydantic_core import from_json, to_json

from hostedagent.observability.logging import log_failure
from hostedagent.protocol.types import Json

logger: Final = logging.getLogger(__name__)


class SharedState:
    """The state of one turn.

    Args:
        state: The state, as the client has it; `None` if it shares none.
    """

    def __init__(self, state: dict[str, Json] | None = None) -> None:
        self._state = state
        self._sent = self._json()

    def change(self) -> Json:
        """The state that the client does not have yet; `None` if it has it, or if JSON cannot represent it."""
        now = self._json()
        if now is None or now == self._sent:
            return None
        self._sent = now
        return from_json(now)

    def _json(self) -> bytes | None:
        try:
            return to_json(self._state, inf_nan_mode="null") if self._state is not None else None
        except ValueError as error:  # The turn itself is not affected.
            log_failure(logger, "A tool has put a value into the shared state that JSON cannot represent", error)
            return None
