"""Files that are seen whole or not at all, also by whoever starts after a kill or a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of this user's, flushed to the disk, over the one that is there.

    The temporary file has a fixed name, so writers of one file must exclude each other; what a killed writer left is
    written over.
    """
    folder = path.parent
    make_folder(folder)
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    flush_folder(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents for this user only, and make sure that they outlive a loss of power."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Make sure that what was renamed or removed in a folder stays so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
