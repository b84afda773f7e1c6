"""Which processes that share a folder have ended: each holds a locked file for as long as it lives.

The system lets go of the lock of a process that was killed, so the process that is started in its place need not wait
until its leases expire.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Final

from hostedagent.stores.atomic import make_folder
from hostedagent.stores.file_lock import try_lock

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[0-9a-f]{32}")


class FileOwners:
    """The owners of leases on one machine.

    Args:
        root: The folder of the locked files; made, for the user only, with the first lease.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        self._name = ""
        self._descriptor: int | None = None

    async def name(self) -> str:
        """The name of this process; none where the file system has no locks."""
        if self._descriptor is None:
            self._hold()
        return self._name

    async def is_dead(self, name: str) -> bool:
        """Whether nobody holds the lock of that name."""
        if name == self._name or not _NAME.fullmatch(name):
            return False
        return await asyncio.to_thread(self._is_free, self._path(name))

    def close(self) -> None:
        """Let go: whoever comes next need not wait."""
        if self._descriptor is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._path(self._name).unlink(missing_ok=True)
        self._descriptor, self._name = None, ""

    def _hold(self) -> None:
        name = secrets.token_hex(16)
        try:
            make_folder(self._root)
            self._descriptor = try_lock(self._path(name))
            self._name = name
        except OSError:
            logger.warning("The owners of leases cannot be told apart; they will expire.", exc_info=True)
            self._descriptor = -1

    def _is_free(self, path: Path) -> bool:
        if not path.exists():
            return self._root.is_dir()
        try:
            descriptor = try_lock(path)
        except OSError:
            return False
        if descriptor is None:
            return False
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return True

    def _path(self, name: str) -> Path:
        return self._root / f"{name}.lock"
