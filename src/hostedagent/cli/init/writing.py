"""Writes a project's files into a folder, and overwrites nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


class FilesInTheWay(Exception):
    """Some of the files exist; the message is for the user and names them."""


def missing(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The files that do not exist in a folder yet."""
    return {name: text for name, text in files.items() if not _exists(folder / name)}


def write(folder: Path, files: Mapping[str, str], *, reserved: Iterable[str] = ()) -> None:
    """Write all files, or none.

    Args:
        folder: Created if it does not exist.
        files: Path below the folder to text.
        reserved: Paths that must be free as well, for what is written later.

    Raises:
        FilesInTheWay: One of the paths exists, or a file stands where a folder must be.
        OSError: The folder cannot be written.
    """
    if _exists(folder) and not folder.is_dir():
        what = "a file" if folder.exists() else "a link to what is not there"
        raise FilesInTheWay(f"Nothing was written: {folder} is {what}, not a folder. Choose another folder.")
    if taken := sorted(set(_taken(folder, [*files, *reserved]))):
        raise FilesInTheWay(
            f"Nothing was written, for init overwrites nothing. In {folder} there is already: {', '.join(taken)}. "
            f"Choose another folder, move these away, or add what is missing with --add."
        )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x": what another process has made since the look above is not overwritten either.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _taken(folder: Path, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        if _exists(folder / name):
            yield name
        for parent in Path(name).parents:
            if _exists(folder / parent) and not (folder / parent).is_dir():
                yield parent.as_posix()


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
