"""A release is a tag with a section in the changelog; its workflow stores no secret."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml

from tests.deploy.shared_data import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def release(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci/release"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    done = release(f"v{VERSION}")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not re.search(r"^## ", done.stdout, re.MULTILINE)
    assert done.stdout.strip() in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("arguments", [(), ("v0.0.0",), (VERSION,), (f"v{VERSION}.1",)])
def test_another_tag_is_refused(arguments: tuple[str, ...]) -> None:
    done = release(*arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr


def test_only_the_job_that_publishes_may_identify_itself() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    workflow: dict[str, Any] = yaml.safe_load(text)

    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["build"]
    assert workflow["jobs"]["publish"]["permissions"]["id-token"] == "write"
    assert workflow["jobs"]["publish"]["needs"] == "build"
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["build"]["steps"]]
    assert "secrets." not in text
