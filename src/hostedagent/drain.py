"""The end of the process, as turns see it: announced once, then some time to finish, then what runs is stopped.

The SDK tells a running turn at different moments, depending on how it was asked for: at once, or only when the last
connection has closed. Here all turns have one deadline, counted from the signal.
"""

from __future__ import annotations

import asyncio
from typing import Final

MAX_GRACE: Final = 8.0
"""The SDK cuts off what still runs ten seconds after it told it to end, and how a turn ended must be stored first."""


class Drain:
    """When the process ends, and until when turns may go on.

    Args:
        grace: Seconds from the announcement until what runs is stopped.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self.has_begun = False
        self.over = asyncio.Event()

    def begin(self) -> None:
        """The process ends: no new turn begins. The first call counts."""
        if self.has_begun:
            return
        self.has_begun = True
        if self._grace > 0:
            asyncio.get_running_loop().call_later(self._grace, self.over.set)
        else:
            self.over.set()
