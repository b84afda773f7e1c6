"""The SDK's tests: they come with the source distributions, in the versions that are installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path


def tests_of(package: str) -> Path:
    """The unpacked source distribution of a package, downloaded where it is not there yet.

    Raises:
        RuntimeError: pip could not download it.
    """
    name = f"{package.replace('-', '_')}-{version(package)}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hostedagent" / "sdk_suite"
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            _download(f"{package}=={version(package)}", unfinished)
            with tarfile.open(Path(unfinished) / f"{name}.tar.gz") as archive:
                archive.extractall(unfinished, filter="data")
            shutil.move(Path(unfinished) / name, folder)
    return folder


def _download(requirement: str, folder: str) -> None:
    pip = ["uv", "run", "--quiet", "--no-project", "--with", "pip", "python", "-m", "pip"]
    choice = ["--no-deps", "--no-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "download", *choice, "--dest", folder, requirement], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{requirement} could not be downloaded:\n{done.stdout}{done.stderr}")
