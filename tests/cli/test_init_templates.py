"""What `hostedagent init` writes, for every choice of features: linted, typed, tested, and as azd's schemas want it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostedagent.cli.doctor import checks
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.init import parse_features
from hostedagent.templates import DEFAULT_MODEL, FEATURES, LOCK_COMMAND, Choices, render

CHOICES = sorted(
    {
        "-".join(sorted(parse_features(",".join(names)))) or "none": parse_features(",".join(names))
        for names in chain.from_iterable(combinations(FEATURES, n) for n in range(len(FEATURES) + 1))
    }.items()
)
PYRIGHT = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}


def write(folder: Path, choices: Choices) -> Path:
    for name, text in render(choices).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=110
    )


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project for each choice of features, in one folder."""
    folder = tmp_path_factory.mktemp("projects")
    return {name: write(folder / name, Choices(name="my-shop", features=chosen)) for name, chosen in CHOICES}


def test_every_choice_of_features_is_another_project(projects: dict[str, Path]) -> None:
    assert list(projects) == [
        "approvals-tools",
        "approvals-tools-workflow",
        "none",
        "tools",
        "tools-workflow",
        "workflow",
    ]
    assert len({(folder / "main.py").read_text() for folder in projects.values()}) == len(projects)


@pytest.mark.parametrize("command", [("check",), ("format", "--diff")])
def test_the_python_is_linted_and_formatted(command: tuple[str, ...], projects: dict[str, Path]) -> None:
    done = run(next(iter(projects.values())).parent, "-m", "ruff", *command, "--no-cache", ".")

    assert done.returncode == 0, done.stdout


def test_the_python_is_formatted_whatever_the_project_is_called(tmp_path: Path) -> None:
    for choice, features in CHOICES:
        for length in range(2, 64):
            text = render(Choices(name="x" * length, features=features))["main.py"]
            (tmp_path / f"{choice}-{length}.py").write_text(text)

    done = run(tmp_path, "-m", "ruff", "format", "--diff", "--no-cache", "--config", "line-length=120", ".")

    assert done.returncode == 0, done.stdout


def test_the_python_is_typed(projects: dict[str, Path]) -> None:
    parent = next(iter(projects.values())).parent
    roots = [{"root": name} for name in projects]
    (parent / "pyrightconfig.json").write_text(json.dumps({**PYRIGHT, "executionEnvironments": roots}))

    done = run(parent, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson")

    said: dict[str, Any] = json.loads(done.stdout)
    assert said["generalDiagnostics"] == []
    assert said["summary"]["filesAnalyzed"] >= 2 * len(projects)


@pytest.mark.parametrize("name", ["approvals-tools", "approvals-tools-workflow"])
def test_the_tests_of_the_project_pass(name: str, projects: dict[str, Path]) -> None:
    done = run(projects[name], "-m", "pytest", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout
    tests = len(re.findall("^async def test_", (projects[name] / "tests/test_agent.py").read_text(), re.MULTILINE))
    assert f"{tests} passed" in done.stdout


def test_a_project_whose_agent_is_wrong_fails_its_tests(tmp_path: Path) -> None:
    write(tmp_path, Choices(name="my-shop"))
    text = (tmp_path / "main.py").read_text()
    (tmp_path / "main.py").write_text(text.replace("return ORDERS[order]", 'return "lost"'))

    done = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider")

    assert done.returncode == 1
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("brings_wheel", [True, False])
@pytest.mark.parametrize(("name", "features"), CHOICES, ids=[name for name, _ in CHOICES])
def test_no_mark_and_no_placeholder_is_left(name: str, features: Any, brings_wheel: bool) -> None:
    del name
    files = render(Choices(name="seller", model="gpt-6", features=features, brings_wheel=brings_wheel))

    left = [
        (path, word)
        for path, text in files.items()
        for word in ("#?", "my-agent", "HOSTEDAGENT_VERSION", "LOCK_COMMAND", DEFAULT_MODEL)
        if word in text
    ]
    assert left == []


def test_another_model_has_the_version_that_azure_chooses() -> None:
    usual, other = (render(Choices(name="shop", model=model)) for model in (DEFAULT_MODEL, "gpt-6"))

    versions = [
        json.loads(files["infra/main.parameters.json"])["parameters"]["modelVersion"]["value"]
        for files in (usual, other)
    ]
    assert re.fullmatch(r"\$\{MODEL_VERSION=\d{4}-\d\d-\d\d\}", versions[0])
    assert versions[1] == "${MODEL_VERSION=}"
    assert "param modelVersion string = ''" in other["infra/main.bicep"]


def test_doctor_finds_nothing_in_the_files(tmp_path: Path) -> None:
    project = Project.read(write(tmp_path, Choices(name="my-shop")), {})

    assert [found for name in ("azure.yaml", "Dockerfile", "environment") for found in checks()[name](project)] == []


def test_the_workflow_signs_in_without_a_stored_secret_and_tests_before_it_deploys() -> None:
    text = render(Choices(name="my-shop"))[".github/workflows/azure-dev.yml"]
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]

    assert jobs["deploy"]["permissions"] == {"id-token": "write", "contents": "read"}
    assert jobs["deploy"]["needs"] == "test"
    assert re.findall(r"secrets\.(\w+)", text) == ["AZD_INITIAL_ENVIRONMENT_CONFIG"]


def test_the_environment_example_sets_what_azure_yaml_declares() -> None:
    files = render(Choices(name="my-shop"))
    declared = yaml.safe_load(files["azure.yaml"])["services"]["my-shop"]["env"]
    named = re.findall(r"^(\w+)=", files[".env.example"], re.MULTILINE)

    assert set(declared) <= set(named)


@pytest.mark.parametrize(("brings_wheel", "relation"), [(False, ">="), (True, "==")])
def test_the_dependency_is_this_version_and_a_later_one_only_from_an_index(brings_wheel: bool, relation: str) -> None:
    project = tomllib.loads(render(Choices(name="my-shop", brings_wheel=brings_wheel))["pyproject.toml"])

    assert project["project"]["dependencies"] == [f"hostedagent[fast,foundry]{relation}{version('hostedagent')}"]
    assert ("find-links" in project["tool"]["uv"]) is brings_wheel


def test_the_documents_tell_the_command_for_the_lock() -> None:
    files = render(Choices(name="my-shop"))

    assert all(" ".join(LOCK_COMMAND) in files[name] for name in ("README.md", "AGENTS.md"))
