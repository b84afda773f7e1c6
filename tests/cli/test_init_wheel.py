"""The whole way in a bare folder: the wheel of this checkout is installed, writes a project, and the project works.

Needs uv and a package index; everything is installed in environments of its own, below a temporary folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostedagent.templates import LOCK
from tests.patience import PATIENCE

pytestmark = pytest.mark.installs

ROOT = Path(__file__).parents[2]
INHERITED = re.compile(r"HOME|PATH|TMPDIR|SSL_CERT_\w+|(?i:\w+_PROXY)|UV_(?!PROJECT|NO_|FROZEN|LOCKED|RUN_)\w+")
"""How uv reaches an index, and nothing of the environment in which these tests run."""

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs uv as somebody does who has nothing but uv."""

    uv: str

    def start(self, folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
        return subprocess.Popen(
            [self.uv, *arguments],
            cwd=folder,
            env={**kept, "PYTHONUNBUFFERED": "1", "UV_LINK_MODE": "copy"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        process = self.start(folder, *arguments)
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, said


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("reach")
    (folder / "in.txt").write_text("hatchling\n")
    code, said = Shell(found).run(folder, "pip", "compile", "--quiet", "--no-deps", "--no-cache", "in.txt")
    if code != 0:
        pytest.skip(f"no package index can be reached: {said.strip().splitlines()[-1]}")
    return Shell(found)


@pytest.fixture(scope="module")
def wheel(uv: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    code, said = uv.run(ROOT, "build", "--quiet", "--wheel", "--out-dir", str(folder))
    assert code == 0, said
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def project(uv: Shell, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hostedagent init shop --yes`, by the wheel."""
    folder = tmp_path_factory.mktemp("bare")
    code, said = uv.run(folder, "tool", "run", "--from", str(wheel), "hostedagent", "init", "shop", "--yes")
    assert code == 0, said
    assert f"Wrote {LOCK}: " in said, said
    return folder / "shop"


@contextmanager
def serving(uv: Shell, project: Path) -> Generator[str]:
    """`uv run hostedagent run`: its URL; at the end it must stop with code 0."""
    process = uv.start(project, "run", "hostedagent", "run", "--port", "0")
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.match(r"Ready at (\S+)/responses", line):
                yield found[1]
                break
        else:
            raise AssertionError(f"the server did not start:\n{said}")
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, rest


def test_the_wheel_writes_what_this_checkout_writes(project: Path) -> None:
    from hostedagent.templates import Choices, render

    expected = render(Choices(name="shop", brings_wheel=True))
    assert {name: (project / name).read_text(encoding="utf-8") for name in expected} == expected


def test_the_lock_has_the_wheel_by_its_hash_and_no_address(project: Path, wheel: Path) -> None:
    text = (project / LOCK).read_text()

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert re.search(rf"^hostedagent==\S+ \\\n    --hash=sha256:{digest}$", text, re.MULTILINE)
    assert re.findall(r"https?://|file:|--index|--find-links \S+", text) == ["--find-links wheels"]
    assert str(wheel.parent) not in text


def test_what_the_lock_names_can_be_installed_from_anywhere(uv: Shell, project: Path, tmp_path: Path) -> None:
    code, said = uv.run(tmp_path, "venv", "--quiet", "env")
    assert code == 0, said
    code, said = uv.run(
        tmp_path,
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--python",
        "env",
        "--require-hashes",
        "-r",
        str(project / LOCK),
    )

    assert code == 0, said


def test_the_agent_runs_and_answers_offline(uv: Shell, project: Path) -> None:
    with serving(uv, project) as url:
        body = json.dumps({"input": "Where is order A1?"}).encode()
        request = urllib.request.Request(f"{url}/responses", body, {"Content-Type": "application/json"})
        with DIRECTLY.open(request, timeout=PATIENCE) as answer:
            response = json.load(answer)

    assert response["status"] == "completed"
    assert response["output"][-1]["content"][0]["text"] == "look_up_order says: shipped on Monday"


def test_the_tests_of_the_project_pass(uv: Shell, project: Path) -> None:
    code, said = uv.run(project, "run", "pytest")

    assert code == 0, said
    assert "2 passed" in said


def test_doctor_finds_nothing_in_the_project(uv: Shell, project: Path) -> None:
    _, said = uv.run(project, "run", "--quiet", "hostedagent", "doctor", "--json")

    checks = json.loads(said)["checks"]
    assert {
        name: checks[name] for name in ("packages", "agent", "lock", "azure.yaml", "Dockerfile", "environment")
    } == {
        "packages": [],
        "agent": [],
        "lock": [],
        "azure.yaml": [],
        "Dockerfile": [],
        "environment": [],
    }


def test_the_project_can_be_installed_where_it_is_as_azd_does_for_a_local_run(
    uv: Shell, project: Path, tmp_path: Path
) -> None:
    """`azd ai agent run` installs with `uv pip install -e .`, and then runs the start command."""
    code, said = uv.run(tmp_path, "venv", "--quiet", "env")
    assert code == 0, said
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    code, said = uv.run(project, "pip", "install", "--quiet", "--python", str(python), "-e", ".")

    assert code == 0, said
    start = subprocess.run([python, "-m", "hostedagent", "--version"], capture_output=True, text=True, check=True)
    assert start.stdout.startswith("hostedagent ")
    assert [path.name for path in project.glob("*.egg-info")] == ["shop.egg-info"]
    assert "*.egg-info/" in (project / ".gitignore").read_text().splitlines()
