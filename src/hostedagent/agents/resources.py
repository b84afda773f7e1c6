"""Resources of one turn, such as MCP sessions: opened on first use and closed when the turn ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from hostedagent.identity import RequestContext, current_context, enter_context


class Closeable(Protocol):
    """A resource that is closed at the end of its turn."""

    async def close(self) -> None:
        """Close it. Bounded in time."""
        ...


_T = TypeVar("_T", bound=Closeable)


class TurnResources:
    """The resources of one turn.

    Concurrency: used from any task of the turn.
    """

    def __init__(self) -> None:
        self._held: dict[object, Closeable] = {}
        self._is_closed = False

    def hold(self, owner: object, make: Callable[[], _T]) -> _T:
        """Return the resource of `owner` in this turn, opening it on first use.

        Raises:
            RuntimeError: The turn has ended.
        """
        if self._is_closed:
            raise RuntimeError("The turn has ended.")
        found = self._held.get(owner)
        if found is None:
            found = self._held[owner] = make()
        return found  # pyright: ignore[reportReturnType] - an owner makes one kind of thing

    def __bool__(self) -> bool:
        return bool(self._held)

    async def close(self) -> None:
        """Close all resources concurrently.

        Raises:
            Exception: The first error of a close, after all were closed.
        """
        self._is_closed = True
        held, self._held = list(self._held.values()), {}
        for outcome in await asyncio.gather(*(one.close() for one in held), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


def turn_resources() -> TurnResources:
    """The resources of the turn being served.

    Raises:
        LookupError: Called outside a turn.
    """
    context = current_context()
    if context is None or not isinstance(context.resources, TurnResources):
        raise LookupError("There is no turn.")
    return context.resources


def begin_turn_resources() -> TurnResources:
    """Give the current context, and every task started from it, its own resources."""
    resources = TurnResources()
    context = current_context()
    if context is None:
        enter_context(RequestContext(resources=resources))
    else:
        context.resources = resources
    return resources
