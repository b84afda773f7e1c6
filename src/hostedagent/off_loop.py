"""Work that grows with a request: done in a thread where it is much, so that other requests are answered meanwhile.

A thread shares the interpreter with the event loop, which gets its turn every few milliseconds.
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
    """What `work` returns or raises. It must touch nothing that the event loop works on meanwhile.

    Args:
        items: How much work it is.
        work: The work.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    if items <= FEW:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
