"""Files that a project lacks: the commands that bring them are run, and nothing is lacking then."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from hostedagent.cli.doctor.azure_yaml import image
from hostedagent.cli.doctor.rules import Finding
from tests.cli.doctor.bench import Bench
from tests.patience import PATIENCE

CHECKS = ("azure.yaml", "Dockerfile", "lock")

UV = f"""#!/bin/sh
[ "$1" = build ] && exec touch "$4/hostedagent.whl"
printf 'hostedagent=={version("hostedagent")} --hash=sha256:00\\n' > requirements.lock
"""
"""A stand-in for uv: builds a wheel, or writes a lock."""


@pytest.fixture
def lacking(bench: Bench, tmp_path: Path) -> Bench:
    """A folder with an agent in `agent.py` and nothing else; `init` as it is here, but for uv."""
    bench.monkeypatch.undo()  # Where it was installed from, which the commands see too.
    bench.folder = tmp_path / "An Agent"
    bench.write("agent.py", "from hostedagent.testing import ScriptedAgent\nagent = ScriptedAgent()\n")
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    bench.process |= {"PATH": path, "UV": str(tmp_path / "uv"), "TMPDIR": str(tmp_path)}
    return bench


def mend(bench: Bench) -> list[str]:
    """Do what doctor says until it says nothing; the codes of what it said."""
    said: list[str] = []
    while found := _found(bench):
        assert found[0].code not in said, f"{found[0].fix} did not mend it"
        said.append(found[0].code)
        ran = subprocess.run(
            ["sh", "-c", found[0].fix],
            cwd=bench.folder,
            env=bench.process,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    return said


def _found(bench: Bench) -> list[Finding]:
    return [finding for check in CHECKS for finding in bench.findings(check)]


def test_an_agent_in_a_file_gets_everything_that_its_deployment_reads(lacking: Bench) -> None:
    before = (lacking.folder / "agent.py").read_text()

    assert mend(lacking) == ["yaml.missing"]

    assert lacking.findings("agent") == []
    assert lacking.project().target == "agent.py"
    assert (lacking.folder / "agent.py").read_text() == before
    assert not (lacking.folder / "main.py").exists()
    config = yaml.safe_load((lacking.folder / "azure.yaml").read_text())
    assert config["name"] == "an-agent"


def test_a_dockerfile_that_azure_yaml_names_is_made_with_what_it_copies(lacking: Bench) -> None:
    mend(lacking)
    for name in ("Dockerfile", ".dockerignore", "requirements.lock", "pyproject.toml"):
        lacking.remove(name)

    assert mend(lacking) == ["yaml.no_dockerfile"]


def test_the_files_of_a_service_in_another_folder_are_brought_there(lacking: Bench) -> None:
    mend(lacking)
    lacking.write("shop/main.py", "")
    lacking.edit("azure.yaml", "    project: .\n", "    project: shop\n")

    assert mend(lacking) == ["yaml.no_dockerfile"]

    assert {path.name for path in (lacking.folder / "shop").iterdir()} >= {"main.py", "Dockerfile", ".dockerignore"}


def test_a_folder_for_the_infrastructure_that_is_there_is_filled(lacking: Bench) -> None:
    mend(lacking)
    lacking.write("deploy/notes.md", "mine")
    lacking.edit("azure.yaml", "path: ./infra", "path: ./deploy")

    assert mend(lacking) == ["yaml.infra"]

    assert (lacking.folder / "deploy" / "notes.md").read_text() == "mine"


def test_what_is_there_is_not_brought_again(bench: Bench) -> None:
    bench.remove("azure.yaml")
    bench.write("Dockerfile", "FROM mine\n")

    (found,) = bench.findings("azure.yaml")

    assert found.fix == "hostedagent init --yes --only azure.yaml"


def test_a_lock_is_brought_only_with_what_it_was_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: None)
    assert image(tmp_path) == ["Dockerfile", ".dockerignore", "pyproject.toml", "requirements.lock"]

    (tmp_path / "pyproject.toml").touch()

    assert image(tmp_path) == ["Dockerfile", ".dockerignore"]
