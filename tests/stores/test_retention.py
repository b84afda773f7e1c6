"""Documents in files go when their retention is over."""

import os
from pathlib import Path

from hostedagent.stores.file_documents import SWEEP_SECONDS, FileDocuments

OLD, NEW, LATEST = "a" * 64, "b" * 64, "c" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def age(folder: Path, now: float) -> None:
    for path in folder.glob("*/*.json"):
        written = now - (500 if path.stem == OLD else 50)
        os.utime(path, (written, written))


async def test_a_document_past_its_retention_is_removed_and_a_younger_one_stays(tmp_path: Path) -> None:
    clock = Clock()
    documents = FileDocuments(tmp_path, retention=100.0, clock=clock)
    await documents.write({OLD: b"1", NEW: b"2"})
    clock.now += SWEEP_SECONDS
    age(tmp_path, clock.now)

    await documents.write({LATEST: b"3"})

    assert await documents.read([OLD, NEW, LATEST]) == [None, b"2", b"3"]
    await documents.aclose()
