"""Documents in files of one machine: the response store's disk. Calls block a thread of their own, never the loop."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from hostedagent.stores.atomic import write_atomically

SWEEP_SECONDS: Final = 3600.0
"""How often documents past their retention are removed."""


class FileDocuments:
    """Keeps documents below a folder; names are the keys, which are hashes.

    Documents are written by one thread, so that writes of one document come one after the other.

    Args:
        root: The folder; made, for the user only, with the first document.
        retention: Seconds that a document is kept after its last write.
        clock: The time of day in seconds.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        retention: float = math.inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = Path(root)
        self._retention = retention
        self._clock = clock
        self._next_sweep = clock() + SWEEP_SECONDS
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hostedagent-responses")

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The documents, in order."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, tuple(keys))

    async def write(self, documents: Mapping[str, bytes]) -> None:
        """Write documents in order, each one atomically."""
        # Shielded: a response that is half named must not be left behind because its caller went away.
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._write, dict(documents))
        await asyncio.shield(job)

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove documents."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._remove, tuple(keys))

    async def aclose(self) -> None:
        """Wait for the writes under way."""
        await asyncio.to_thread(self._thread.shutdown)

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / f"{key}.json"

    def _read(self, keys: Sequence[str]) -> list[bytes | None]:
        return [path.read_bytes() if (path := self._path(key)).exists() else None for key in keys]

    def _write(self, documents: Mapping[str, bytes]) -> None:
        for key, document in documents.items():
            write_atomically(self._path(key), document)
        if self._clock() >= self._next_sweep:
            self._next_sweep = self._clock() + SWEEP_SECONDS
            self._sweep()

    def _sweep(self) -> None:
        oldest = self._clock() - self._retention
        for path in self._root.glob("*/*.json"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._path(key).unlink(missing_ok=True)
