"""A lock that holds among threads and processes of one machine, and that the system releases when its holder is killed.

POSIX has `flock`; Windows has `msvcrt.locking`. Each acquisition opens the file anew, so that two threads of one
process exclude each other as two processes do. Not for network file systems that do not pass locks on.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock at `path`, an empty file that is created when missing and never removed. Blocks the thread.

    Raises:
        OSError: The file cannot be opened, or the file system knows no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _acquire(descriptor)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take the lock at `path` without waiting; `None` when somebody holds it.

    Returns:
        A descriptor; closing it, or the end of the process, lets go of the lock.

    Raises:
        OSError: The file cannot be opened, or the file system knows no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _acquire_at_once(descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return None
        raise
    return descriptor


if sys.platform == "win32":
    import msvcrt

    def _acquire_at_once(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _acquire(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError as error:
                # It gives up after ten seconds, although the holder is only slow.
                if error.errno != errno.EDEADLK:
                    raise
            else:
                return

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _acquire_at_once(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
