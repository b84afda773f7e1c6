"""Continuation tokens: by which a model's service finds the work again that it does in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.identity import Scope
from hostedagent.stores.state import StateStore
from hostedagent.types import Json

TOKEN: Final = "continuation-token"


class ContinuationTokens:
    """A typed view of the state store. A token is the service's own, and no caller ever sees it."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    async def save(self, scope: Scope, response_id: str, token: Mapping[str, Json]) -> None:
        """Keep the token of what the service does for a response."""
        await self._state.put(scope, TOKEN, response_id, {"token": dict(token)})

    async def load(self, scope: Scope, response_id: str) -> Mapping[str, Json] | None:
        """The token; `None` when the service has nothing to pick up."""
        stored = await self._state.get(scope, TOKEN, response_id)
        return stored.value["token"] if stored is not None else None

    async def delete(self, scope: Scope, response_id: str) -> None:
        """Delete the token, if there is one."""
        await self._state.delete(scope, TOKEN, response_id)
