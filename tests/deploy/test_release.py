"""A release is a tag with a section in the changelog; its workflow stores no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
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


def test_on_an_index_every_link_of_the_readme_leads_to_the_tag_and_the_repository_is_named(tmp_path: Path) -> None:
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    repository = "https://example.com/owner/name"
    command = [sys.executable, str(ROOT / ".ci/metadata"), repository, "v1.2.3"]
    subprocess.run(command, cwd=tmp_path, check=True)

    readme = (tmp_path / "README.md").read_text()
    assert [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")] == []
    assert f"]({repository}/blob/v1.2.3/docs/page.md)" in readme
    assert re.search(rf"!\[[^\]]+\]\({repository}/raw/v1\.2\.3/docs/images/page-\S+\.png\)", readme)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == repository
    assert project["urls"]["Changelog"] == f"{repository}/blob/v1.2.3/CHANGELOG.md"
    assert project["name"] == "hostedagent"


def test_the_metadata_say_who_can_use_it_and_how() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["license"] == "MIT" and all((ROOT / name).is_file() for name in project["license-files"])
    assert len(project["description"]) < 512 and (ROOT / project["readme"]).is_file()
    least = int(project["requires-python"].removeprefix(">=3."))
    minors = {int(found[1]) for row in project["classifiers"] if (found := re.search(r":: 3\.(\d+)$", row))}
    assert minors and min(minors) == least
    assert "Typing :: Typed" in project["classifiers"]


def test_only_the_job_that_publishes_may_identify_itself() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    workflow: dict[str, Any] = yaml.safe_load(text)

    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["build"]
    assert workflow["jobs"]["publish"]["permissions"]["id-token"] == "write"
    assert workflow["jobs"]["publish"]["needs"] == "build"
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["build"]["steps"]]
    assert [step.get("run", "").split()[:1] for step in workflow["jobs"]["build"]["steps"]].count([".ci/metadata"]) == 1
    assert "secrets." not in text
