"""Gates: points where a scripted model or agent waits until the test opens them.

A gate replaces a sleep: the test waits until the script has arrived, checks the state, and opens the gate.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias


class Gate:
    """Stops a script at one deterministic place.

    Concurrency: one script passes at a time; once open, a gate stays open. Make and use it in one event loop.

    Example:
        ```python
        gate = Gate()
        client = OfflineChatClient(script=[["Hello ", gate, "world"]])
        ...
        await gate.reached()  # the model has sent "Hello " and waits
        gate.open()
        ```
    """

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._opened = asyncio.Event()

    @property
    def is_reached(self) -> bool:
        """Whether the script has arrived at this gate."""
        return self._arrived.is_set()

    async def reached(self, *, timeout: float = 60.0) -> None:  # noqa: ASYNC109 - a test wants one call, not a block
        """Wait until the script has arrived at the gate.

        Raises:
            TimeoutError: the script did not arrive within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            await self._arrived.wait()

    def open(self) -> None:
        """Let the script continue."""
        self._opened.set()

    async def wait(self) -> None:
        """Wait until the gate is open. Called by the script."""
        self._arrived.set()
        await self._opened.wait()


Pause: TypeAlias = Gate | asyncio.Event | Awaitable[Any] | Callable[[], Awaitable[Any]]
"""Types that a script may wait for: a gate, an event, an awaitable (used once), or a function that returns one."""


async def wait_at(pause: Pause) -> None:
    """Wait for one pause of a script."""
    if isinstance(pause, (Gate, asyncio.Event)):
        await pause.wait()
    elif inspect.isawaitable(pause):
        await pause
    else:
        await pause()
