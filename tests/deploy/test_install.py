"""The documented installation, word for word, in a copy of the checkout. Needs a package index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.shared_data import ROOT
from tests.patience import PATIENCE

pytestmark = pytest.mark.installs

NEEDED = ("pyproject.toml", "README.md", "LICENSE", "src", "infra", "samples/hello")
"""What a build reads, and an agent."""

SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
INHERITED = re.compile(r"PATH|TMPDIR|SSL_CERT_\w+|(?i:\w+_PROXY)|PIP_\w+")


def commands() -> list[str]:
    """The blocks of commands below "Install"."""
    text = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    return SHELL.findall(text.partition("## Install\n")[2].partition("\n## ")[0])


def run(script: str, folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**kept, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    for name in NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    reach = "python3 -m venv reach; reach/bin/pip download --quiet --no-deps --dest reach hatchling"
    try:
        run(reach, folder)
    except AssertionError as error:
        pytest.skip(f"no package index can be reached: {str(error).strip().splitlines()[-1]}")
    return folder


def test_a_checkout_and_a_wheel_install_as_documented_with_their_extras(clone: Path) -> None:
    checkout, wheel, extras = commands()
    shown = "hostedagent --help; pip list --format freeze | grep -i -e ^hostedagent -e ^standardwebhooks || true"

    said = run(f"{checkout}\n{shown}", clone)
    assert "Usage: hostedagent" in said
    assert "hostedagent @ file:" in said or "hostedagent==" in said
    assert "standardwebhooks" not in said

    run("rm -rf .venv", clone)
    activated = "python3 -m venv .venv; . .venv/bin/activate"
    said = run(f"{activated}\n{wheel}\n{shown}", clone)
    assert "Usage: hostedagent" in said

    from_clone, from_wheel = extras.splitlines()
    for command in (from_clone, from_wheel):
        said = run(f". .venv/bin/activate; pip uninstall --yes standardwebhooks\n{command}\n{shown}", clone)
        assert "standardwebhooks==" in said
