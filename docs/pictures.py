"""Takes the pictures of docs/images: the screenshots of the page's tests, with fewer colours.

Run it after the page has changed: `uv run python docs/pictures.py`. It needs Chromium. A picture that no
document shows is removed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SCREENSHOTS = ROOT / "build" / "screenshots"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "page.md")
TESTS = ("tests/browser/test_walk.py", "tests/browser/test_page.py")
COLORS = 128
"""Of one picture: a third of the size, with no difference that can be seen."""


def main() -> None:
    """Take the screenshots, and keep those that a document shows."""
    if subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False).returncode != 0:
        sys.exit("The pictures are taken by tests, and not all of them passed.")
    shown = {name for document in DOCUMENTS for name in re.findall(r"images/page-([\w-]+\.png)", document.read_text())}
    if missing := sorted(name for name in shown if not (SCREENSHOTS / name).exists()):
        sys.exit(f"No test takes {', '.join(missing)}.")
    for picture in IMAGES.glob("page-*.png"):
        picture.unlink()
    for name in sorted(shown):
        with Image.open(SCREENSHOTS / name) as picture:
            fewer = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
            fewer.save(IMAGES / f"page-{name}", optimize=True)
    size = sum(picture.stat().st_size for picture in IMAGES.glob("page-*.png"))
    sys.stdout.write(f"{len(shown)} pictures, {size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
