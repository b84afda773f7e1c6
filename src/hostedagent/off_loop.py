"""Runs work that grows with a request in a thread if there is much of it, so that the event loop stays responsive.

The thread shares the interpreter with the event loop, which still runs every few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FEW: Final = 100
"""Items that are worked on at once, on the event loop; a thread costs more than it saves for them."""


async def off_loop(items: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of `work`, which must not share state with code on the event loop.

    Args:
        items: The amount of work; a small amount runs at once, on the loop.
    """
    if items <= FEW:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
