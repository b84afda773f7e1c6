"""azure.yaml: azd's schemas accept it, the platform's rules hold, and the checks of both see mistakes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from hostedagent.cli import run
from hostedagent.templates import DEPLOYMENTS, PROTOCOLS, PROVIDERS, Choices, render
from tests.deploy.azure_yaml import house_errors, schema_errors
from tests.deploy.bicep.syntax import read
from tests.deploy.shared_data import ROOT, needs_azd_schemas

ENDPOINT_PAGE = (ROOT / "docs/agent-endpoint.md").read_text()
TEXT = (ROOT / "azure.yaml").read_text()
PROVIDED = set(read((ROOT / "infra/main.bicep").read_text(), "main.bicep").of_kind("output"))


@needs_azd_schemas
def test_azds_schemas_accept_it() -> None:
    assert schema_errors(TEXT) == []


def test_the_rules_that_the_schemas_do_not_know_hold() -> None:
    assert house_errors(TEXT, ROOT, PROVIDED) == []


NEW = pytest.mark.parametrize(
    "choices",
    [
        Choices(name="my-agent", provider=provider, deployment=deployment, protocols=frozenset(protocols))
        for provider in PROVIDERS
        for deployment in DEPLOYMENTS
        for protocols in ((), tuple(PROTOCOLS))
    ],
    ids=lambda choices: "-".join([choices.provider, choices.deployment, *choices.protocols]),
)


@needs_azd_schemas
@NEW
def test_azds_schemas_accept_that_of_a_new_project(choices: Choices) -> None:
    assert schema_errors(render(choices)["azure.yaml"]) == []


@needs_azd_schemas
@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", ENDPOINT_PAGE, re.DOTALL))
def test_azds_schemas_accept_what_the_page_of_the_endpoint_adds(block: str) -> None:
    config = yaml.safe_load(render(Choices(name="my-agent"))["azure.yaml"])
    for name, added in yaml.safe_load(block)["services"].items():
        config["services"][name] = {**config["services"].get(name, {}), **added}

    assert schema_errors(yaml.safe_dump(config)) == []


@NEW
def test_a_new_project_keeps_the_same_rules(choices: Choices, tmp_path: Path) -> None:
    for name, text in render(choices).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    given = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"} if choices.provider == "openai" else set[str]()
    assert house_errors((tmp_path / "azure.yaml").read_text(), tmp_path, PROVIDED | given) == []


def test_the_command_for_a_local_run_serves_the_sample() -> None:
    words = shlex.split(yaml.safe_load(TEXT)["services"]["agent"]["startupCommand"])

    assert words[:5] == ["uv", "run", "--extra", "foundry", "hostedagent"]
    assert run.command.make_context("run", words[6:]).params["target"] == "samples/foundry/agent.py"


SCHEMA_MISTAKES = {
    "a number for text": ('cpu: "1"', "cpu: 1", "$.services.agent.container.resources.cpu"),
    "memory with another unit": ("memory: 2Gi", "memory: 2GB", "$.services.agent.container.resources.memory"),
    "an unknown setting of a session": ("idleTimeoutSeconds:", "idleSeconds:", "$.services.agent.sessionConfiguration"),
    "a timeout out of bounds": ("idleTimeoutSeconds: 900", "idleTimeoutSeconds: 60", "idleTimeoutSeconds"),
    "a protocol without a name": (
        "- protocol: responses\n        version",
        "- version",
        "$.services.agent.protocols[0]",
    ),
    "an unknown kind": ("kind: hosted", "kind: host", "$.services.agent.kind"),
    "code without its folder": ("    project: .\n", "", "$.services.agent: 'project' is a required property"),
    "a project that is built": (
        "host: azure.ai.project\n",
        "host: azure.ai.project\n    project: .\n",
        "$.services['ai-project']",
    ),
    "an environment that is a list": ("    env:\n      AZ", "    env:\n      - AZ", "$.services.agent.env"),
    "a service without a host": ("    host: azure.ai.agent\n", "", "$.services.agent: 'host' is a required property"),
    "a number for a path": ("path: ./infra", "path: 7", "$.infra.path"),
    "no name": ("\nname: hostedagent\n", "\n", "$: 'name' is a required property"),
}
HOUSE_MISTAKES = {
    "the dead protocol": ("version: 2.0.0", "version: 1.0.0", "services.agent.protocols: not responses 2.0.0"),
    "a size that was removed": ('cpu: "1"', 'cpu: "0.25"', "services.agent.container.resources: there is no such size"),
    "a size of two halves": ("memory: 2Gi", "memory: 1Gi", "services.agent.container.resources: there is no such size"),
    "a variable in a name": ("name: hostedagent-sample", "name: ${NAME}", "services.agent.name: azd does not fill in"),
    "a variable in a size": ('cpu: "1"', 'cpu: "${CPU}"', "services.agent.container.resources.cpu: azd does not fill"),
    "a variable in a version": ("version: 2.0.0", "version: ${V}", "services.agent.protocols[0].version: azd does not"),
    "a reserved name": ("      AZURE_AI_MODEL", "      FOUNDRY_MODEL", "the name is the platform's"),
    "a variable that nothing sets": ("${AZURE_AI_MODEL_DEPLOYMENT_NAME}", "${MODEL}", "nothing sets MODEL"),
    "another architecture": ("linux/amd64", "linux/arm64", "services.agent.docker.platform: not linux/amd64"),
    "a Dockerfile that is not there": (
        "./Dockerfile",
        "./docker/Dockerfile",
        "services.agent.docker.path: there is no",
    ),
    "a service that is not there": (
        "      - ai-project",
        "      - project",
        "services.agent.uses: no service 'project'",
    ),
    "the provider that renames outputs": ("provider: bicep", "provider: microsoft.foundry", "infra.provider: only"),
    "infrastructure that is not there": ("path: ./infra", "path: ./infrastructure", "infra: there is no"),
}


@needs_azd_schemas
@pytest.mark.parametrize(("right", "wrong", "said"), SCHEMA_MISTAKES.values(), ids=SCHEMA_MISTAKES)
def test_the_schemas_see_a_mistake(right: str, wrong: str, said: str) -> None:
    assert right in TEXT

    found = schema_errors(TEXT.replace(right, wrong))

    assert [one for one in found if said in one] != [], found


@pytest.mark.parametrize(("right", "wrong", "said"), HOUSE_MISTAKES.values(), ids=HOUSE_MISTAKES)
def test_the_rules_see_a_mistake(right: str, wrong: str, said: str) -> None:
    assert right in TEXT

    found = house_errors(TEXT.replace(right, wrong), ROOT, PROVIDED)

    assert [one for one in found if said in one] != [], found
