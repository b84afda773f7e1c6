"""Our Bicep: it parses, every name in it exists, it fits Azure's types, and it gives azd what azd needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.bicep.checker import Program
from tests.deploy.bicep.parameters import check_parameters, given_in
from tests.deploy.bicep.resource_types import ResourceTypes
from tests.deploy.bicep.syntax import literal_of, properties_of, read, sources_of, text_of
from tests.deploy.shared_data import ARM_TYPES, ROOT, needs_arm_types

INFRA = ROOT / "infra"
FOLDERS = [INFRA, ROOT / "samples/self_hosted/infra"]

ROLES = {
    "53ca6127-db72-4b80-b1b0-d745d6d5456d": "Foundry User",
    "eadc314b-1a2d-4efa-be10-5d325db5065e": "Foundry Project Manager",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "8311e382-0749-4cb8-b61a-304f252e45ec": "AcrPush",
    "fb382eab-e894-4461-af04-94435c366c3f": "Container Registry Tasks Contributor",
    "73c42c96-874c-492b-b04d-ab87d138a893": "Log Analytics Reader",
}


def name_of(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def infra() -> Program:
    return Program(sources_of(INFRA), ResourceTypes(None))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_symbol_parameter_and_output_exists(folder: Path) -> None:
    assert Program(sources_of(folder), ResourceTypes(None)).check() == []


@needs_arm_types
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_resource_fits_its_type(folder: Path) -> None:
    assert Program(sources_of(folder), ResourceTypes(ARM_TYPES)).check() == []


def test_the_parameters_that_azd_passes_are_those_of_the_template(infra: Program) -> None:
    text = (INFRA / "main.parameters.json").read_text()

    assert check_parameters(infra, text) == []


def test_every_parameter_but_the_two_that_azd_asks_for_has_a_default(infra: Program) -> None:
    required = [name for name, one in infra.files["main.bicep"].of_kind("param").items() if one.value is None]

    assert required == ["environmentName", "location"]


def test_azd_gets_the_variables_that_deploying_an_agent_needs(infra: Program) -> None:
    outputs = set(infra.files["main.bicep"].of_kind("output"))

    assert outputs >= {
        "AZURE_RESOURCE_GROUP",
        "AZURE_AI_ACCOUNT_NAME",
        "AZURE_AI_PROJECT_NAME",
        "AZURE_AI_PROJECT_ID",
        "FOUNDRY_PROJECT_ENDPOINT",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_AI_MODEL_DEPLOYMENT_NAME",
        "AZURE_CONTAINER_REGISTRY_ENDPOINT",
        "AZURE_CONTAINER_REGISTRY_RESOURCE_ID",
        "AZURE_AI_PROJECT_ACR_CONNECTION_NAME",
        "AZURE_AI_PROJECT_CONNECTION_NAMES",
        # How the project reaches the network, which azd's own template tells, too.
        "AZURE_FOUNDRY_NETWORK_MODE",
        "AZURE_FOUNDRY_MANAGED_ISOLATION_MODE",
    }


def test_what_azd_remembers_of_the_first_deployment_does_not_change_the_second(infra: Program) -> None:
    """azd keeps each output as a variable, which a parameter may be filled in from the next time."""
    outputs = set(infra.files["main.bicep"].of_kind("output"))
    variables = {variable for _, variable, _ in given_in((INFRA / "main.parameters.json").read_text()).values()}

    assert outputs & variables == {"AZURE_RESOURCE_GROUP", "AZURE_AI_PROJECT_NAME", "AZURE_AI_MODEL_DEPLOYMENT_NAME"}


def test_the_region_is_chosen_by_the_quota_of_the_model_that_is_deployed(infra: Program) -> None:
    params = infra.files["main.bicep"].of_kind("param")
    model, sku = (literal_of(params[name].value) for name in ("modelName", "modelSkuName"))
    source = (INFRA / "main.bicep").read_text()

    assert f"'OpenAI.{sku}.{model},50'" in source
    assert "param modelCapacity int = 50" in source


def test_the_readme_lists_every_parameter_with_its_variable_and_its_default() -> None:
    table = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\| (?:`(.*?)`)? ?\|", (INFRA / "README.md").read_text(), re.M)
    given = given_in((INFRA / "main.parameters.json").read_text())

    assert table == [
        (name, variable or "", default or "" if variable else str(value))
        for name, (value, variable, default) in given.items()
    ]


def test_the_folder_needs_nothing_outside_of_it() -> None:
    for path, source in sources_of(INFRA).items():
        targets = [one.target for one in read(source, path).declarations if one.kind in ("module", "import")]
        assert [target for target in targets if ".." in target or ":" in target] == []
        assert "samples" not in source


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_only_roles_that_we_know_are_assigned(folder: Path) -> None:
    for source in sources_of(folder).values():
        for line in re.findall(r".*'[0-9a-f]{8}-[0-9a-f-]{27}'.*", source):
            found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", line)
            assert found is not None and found[0] in ROLES
            assert ROLES[found[0]] in source, f"{found[0]} is {ROLES[found[0]]}, which the file does not say"


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_no_key_is_read_and_none_comes_out(folder: Path) -> None:
    for source in sources_of(folder).values():
        assert re.findall(r"\blist(?:Keys|Credentials|Secrets)\b|[kK]ey1\b|primaryKey|sharedKey", source) == []
        assert "Credentials" not in "".join(line for line in source.splitlines() if line.startswith("output"))


def test_the_account_and_the_registry_take_managed_identities_only(infra: Program) -> None:
    resources = {
        one.target.partition("@")[0]: properties_of(one.properties.get("properties"))
        for path in ("modules/foundry.bicep", "modules/registry.bicep")
        for one in infra.files[path].of_kind("resource").values()
    }
    account = resources["Microsoft.CognitiveServices/accounts"]
    registry = resources["Microsoft.ContainerRegistry/registries"]

    assert [text_of(account[key]) for key in ("disableLocalAuth", "allowProjectManagement")] == ["true", "true"]
    assert [text_of(registry[key]) for key in ("adminUserEnabled", "anonymousPullEnabled")] == ["false", "false"]


def test_connections_say_what_the_platform_reads() -> None:
    """Names in maps that take any name, so that no type can check them."""
    source = read((INFRA / "modules/connections.bicep").read_text(), "connections.bicep")
    maps: dict[str, list[str]] = {}
    for name, one in source.of_kind("resource").items():
        metadata = properties_of(one.properties.get("properties")).get("metadata")
        if metadata and metadata.type == "object":
            maps[name] = list(properties_of(metadata))

    assert maps == {"toRegistry": ["ResourceId"], "toInsights": ["ApiType", "ResourceId"]}


def test_an_existing_project_is_left_as_it_is(infra: Program) -> None:
    """Only its connections are written: all else that is written is for a new project, or is our own."""
    existing = infra.files["modules/existing.bicep"].of_kind("resource").values()
    assert [one for one in existing if "existing" not in one.tokens] == []

    modules = infra.files["main.bicep"].of_kind("module").values()
    theirs = [one.target for one in modules if "projectGroupName" in text_of(one.properties["scope"])]
    assert theirs == ["modules/existing.bicep", "modules/connections.bicep"]


def test_without_a_registry_nothing_speaks_of_one(infra: Program) -> None:
    outputs = infra.files["main.bicep"].of_kind("output")
    for name in ("AZURE_CONTAINER_REGISTRY_ENDPOINT", "AZURE_CONTAINER_REGISTRY_RESOURCE_ID"):
        assert " = includeRegistry ? " in text_of(outputs[name].node) and text_of(outputs[name].node).endswith(" : ''")
