"""Writes the project that `hostedagent init` would, with the lock of this repository and a wheel of this checkout.

python tests/deploy/project.py FOLDER WHEEL
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from hostedagent.templates import LOCK, Choices, render

ROOT = Path(__file__).parents[2]


def write(folder: Path, wheel: Path) -> None:
    for name, text in render(Choices(name="my-agent", brings_wheel=True)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "wheels").mkdir()
    shutil.copy(wheel, folder / "wheels")
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = (ROOT / LOCK).read_text(encoding="utf-8")
    (folder / LOCK).write_text(
        f"--find-links wheels\n{lock}{name}=={version} --hash=sha256:{digest}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
