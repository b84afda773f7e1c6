"""What `hostedagent init` writes, for every choice of features: linted, typed, tested, and as azd's schemas want it."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import version
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostedagent import AgentHost
from hostedagent.cli.doctor import checks
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.init import parse_features
from hostedagent.cli.loader import Target, load
from hostedagent.templates import (
    DEFAULT_MODEL,
    DEPLOYMENTS,
    FEATURES,
    LOCK_COMMAND,
    PROTOCOLS,
    PROVIDERS,
    Choices,
    Deployment,
    Protocol,
    Provider,
    render,
)
from hostedagent.testing import serve
from tests.clients.upstream import Text, Upstream
from tests.patience import PATIENCE

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
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.fixture(scope="module")
def all_projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("init")


@pytest.fixture(scope="module")
def projects(all_projects: Path) -> dict[str, Path]:
    """A project for each choice of features, in one folder."""
    folder = all_projects / "projects"
    return {name: write(folder / name, Choices(name="my-shop", features=chosen)) for name, chosen in CHOICES}


@pytest.fixture(scope="module")
def provided(all_projects: Path) -> dict[str, Path]:
    """A project for each provider of models, with and without a tool, in one folder."""
    folder = all_projects / "provided"
    return {
        f"{provider}-{name}": write(folder / f"{provider}-{name}", Choices(name="shop", provider=provider, features=of))
        for provider in PROVIDERS
        for name, of in CHOICES
        if name in ("none", "mcp", "tools-workflow")
    }


@pytest.fixture(scope="module")
def spoken(all_projects: Path) -> dict[str, Path]:
    """A project that serves every protocol, for some features, in one folder."""
    folder = all_projects / "spoken"
    return {
        name: write(folder / name, Choices(name="my-shop", features=of, protocols=frozenset(PROTOCOLS)))
        for name, of in CHOICES
        if name in ("none", "mcp-tools", "workflow", "approvals-mcp-tools-workflow")
    }


def test_every_choice_of_features_is_another_project(projects: dict[str, Path]) -> None:
    assert list(projects) == [
        "approvals-mcp-tools",
        "approvals-mcp-tools-workflow",
        "approvals-tools",
        "approvals-tools-workflow",
        "mcp",
        "mcp-tools",
        "mcp-tools-workflow",
        "mcp-workflow",
        "none",
        "tools",
        "tools-workflow",
        "workflow",
    ]
    assert len({(folder / "main.py").read_text() for folder in projects.values()}) == len(projects)


KINDS = pytest.mark.parametrize("kind", ["projects", "provided", "spoken"])


@KINDS
@pytest.mark.parametrize("command", [("check",), ("format", "--diff")])
def test_the_python_is_linted_and_formatted(
    command: tuple[str, ...], kind: str, request: pytest.FixtureRequest
) -> None:
    projects: dict[str, Path] = request.getfixturevalue(kind)

    done = run(next(iter(projects.values())).parent, "-m", "ruff", *command, "--no-cache", ".")

    assert done.returncode == 0, done.stdout


def test_the_python_is_formatted_whatever_the_project_is_called(tmp_path: Path) -> None:
    for choice, features in CHOICES:
        text = render(Choices(name="the-name", features=features))["main.py"]
        assert "the-name" in text
        for length in range(2, 64):
            (tmp_path / f"{choice}-{length}.py").write_text(text.replace("the-name", "x" * length))

    done = run(tmp_path, "-m", "ruff", "format", "--diff", "--no-cache", "--config", "line-length=120", ".")

    assert done.returncode == 0, done.stdout


def test_the_python_is_typed(
    projects: dict[str, Path], provided: dict[str, Path], spoken: dict[str, Path], all_projects: Path
) -> None:
    folders = [*projects.values(), *provided.values(), *spoken.values()]
    roots = [{"root": folder.relative_to(all_projects).as_posix()} for folder in folders]
    (all_projects / "pyrightconfig.json").write_text(json.dumps({**PYRIGHT, "executionEnvironments": roots}))

    done = run(all_projects, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson")

    said: dict[str, Any] = json.loads(done.stdout)
    assert said["generalDiagnostics"] == []
    assert said["summary"]["filesAnalyzed"] >= 2 * len(folders)


@pytest.mark.parametrize("name", ["approvals-mcp-tools", "approvals-mcp-tools-workflow", "mcp"])
def test_the_tests_of_the_project_pass(name: str, projects: dict[str, Path]) -> None:
    done = run(projects[name], "-m", "pytest", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout
    tests = len(re.findall("^async def test_", (projects[name] / "tests/test_agent.py").read_text(), re.MULTILINE))
    assert f"{tests} passed" in done.stdout


@pytest.mark.parametrize("name", ["none", "approvals-mcp-tools-workflow"])
def test_the_tests_of_a_project_with_every_protocol_pass(name: str, spoken: dict[str, Path]) -> None:
    done = run(spoken[name], "-m", "pytest", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["none", "workflow"])
async def test_a_project_with_invocations_serves_both_protocols_and_declares_them(
    name: str, spoken: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_PROJECT_ENDPOINT", raising=False)
    host = load(Target(str(spoken[name] / "main.py"), None, is_file=True))
    assert isinstance(host, AgentHost)
    async with serve(host.app) as client:
        made = await client.post("/invocations?agent_session_id=s1", json={"input": "My name is Ada."})
        reply = await client.post("/responses", json={"input": "Who am I?", "conversation": "s1"})

    declared = yaml.safe_load((spoken[name] / "azure.yaml").read_text())["services"]["my-shop"]["protocols"]
    assert made.json()["status"] == reply.json()["status"] == "completed"
    assert [row["protocol"] for row in declared] == ["responses", "invocations", "invocations_ws"]
    assert {row["version"] for row in declared} == {"2.0.0"}
    assert [*checks()["azure.yaml"](project := Project.read(spoken[name], {})), *checks()["agent"](project)] == []


def test_a_project_whose_agent_is_wrong_fails_its_tests(tmp_path: Path) -> None:
    write(tmp_path, Choices(name="my-shop"))
    text = (tmp_path / "main.py").read_text()
    (tmp_path / "main.py").write_text(text.replace("return ORDERS[order]", 'return "lost"'))

    done = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider")

    assert done.returncode == 1
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("brings_wheel", [True, False])
@pytest.mark.parametrize("protocols", [frozenset[Protocol](), frozenset(PROTOCOLS)], ids=["responses", "all"])
@pytest.mark.parametrize(("name", "features"), CHOICES, ids=[name for name, _ in CHOICES])
def test_no_mark_and_no_placeholder_is_left(
    name: str, features: Any, protocols: Any, brings_wheel: bool, provider: Provider, deployment: Deployment
) -> None:
    del name
    files = render(
        Choices(
            name="seller",
            model="gpt-6",
            provider=provider,
            deployment=deployment,
            features=features,
            protocols=protocols,
            brings_wheel=brings_wheel,
        )
    )

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


SETTINGS: dict[Provider, list[str]] = {
    "foundry": [],
    "azure": [],
    "openai": ["OPENAI_API_KEY"],
    "offline": [],
}
"""What only the developer knows, and `azd env set` stores. `infra` provides the others."""


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_doctor_finds_only_settings_that_the_developer_has_to_make(
    provider: Provider, deployment: Deployment, tmp_path: Path
) -> None:
    choices = Choices(name="my-shop", provider=provider, deployment=deployment)
    project = Project.read(write(tmp_path, choices), {})

    found = [found for name in ("azure.yaml", "Dockerfile", "environment") for found in checks()[name](project)]
    assert {finding.code for finding in found} <= {"yaml.not_set"}
    assert [finding.fix for finding in found] == [f"azd env set {name} VALUE" for name in SETTINGS[provider]]


def test_the_workflow_signs_in_without_a_stored_secret_and_tests_before_it_deploys() -> None:
    text = render(Choices(name="my-shop"))[".github/workflows/azure-dev.yml"]
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]

    assert jobs["deploy"]["permissions"] == {"id-token": "write", "contents": "read"}
    assert jobs["deploy"]["needs"] == "test"
    assert re.findall(r"secrets\.(\w+)", text) == ["AZD_INITIAL_ENVIRONMENT_CONFIG"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_environment_example_sets_what_azure_yaml_declares(provider: Provider) -> None:
    files = render(Choices(name="my-shop", provider=provider))
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


def test_code_deployment_has_no_image_and_no_registry() -> None:
    container, code = (render(Choices(name="shop", deployment=deployment)) for deployment in DEPLOYMENTS)

    assert container.keys() - code.keys() == {"Dockerfile", ".dockerignore"}
    assert code.keys() - container.keys() == {"requirements.txt", ".agentignore"}
    service = yaml.safe_load(code["azure.yaml"])["services"]["shop"]
    assert service["language"] == "python"
    assert "docker" not in service
    assert service["codeConfiguration"]["entryPoint"] in code
    parameters = [json.loads(files["infra/main.parameters.json"])["parameters"] for files in (container, code)]
    assert [one["includeRegistry"]["value"] for one in parameters] == [
        "${INCLUDE_REGISTRY=true}",
        "${INCLUDE_REGISTRY=false}",
    ]


@pytest.mark.parametrize("name", ["123", "1e5", "0x1f", "true", "null", "2026-11-29", "on"])
def test_a_name_that_yaml_would_read_otherwise_stays_a_name(name: str) -> None:
    project = yaml.safe_load(render(Choices(name=name))["azure.yaml"])

    assert project["name"] == name
    assert project["services"][name]["name"] == name


@pytest.mark.parametrize(("provider", "missing"), [("openai", "OPENAI_API_KEY"), ("offline", "A model")])
def test_the_stand_in_says_so_and_is_refused_when_hosted(provider: Provider, missing: str, tmp_path: Path) -> None:
    write(tmp_path, Choices(name="shop", provider=provider))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    load = [sys.executable, "-c", "import main"]

    here = subprocess.run(load, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    hosted = subprocess.run(
        load,
        cwd=tmp_path,
        env={**environment, "FOUNDRY_HOSTING_ENVIRONMENT": "hosted"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"{missing} is not set: an offline stand-in answers" in here.stderr
    assert hosted.returncode == 1
    assert f"{missing} is not set: a hosted agent needs a model." in hosted.stderr


async def test_a_compatible_server_is_one_edit_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, Choices(name="shop", provider="openai"))
    async with Upstream() as upstream:
        for name, value in {
            "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": f"{upstream.url}/v1",
            "OPENAI_MODEL": "any",
        }.items():
            monkeypatch.setenv(name, value)
        upstream.script(Text("Hello from the server."))
        agent = runpy.run_path(str(tmp_path / "main.py"))["agent"]
        async with serve(AgentHost(agent).app) as client:
            reply = await client.post("/responses", json={"input": "hi"})

    assert reply.json()["output"][0]["content"][0]["text"] == "Hello from the server."
