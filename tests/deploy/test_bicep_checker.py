"""The checker of Bicep, tried on mistakes: it must see each one, and say where and what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.bicep.checker import Program
from tests.deploy.bicep.mutants import Mutant, mutants
from tests.deploy.bicep.parameters import check_parameters
from tests.deploy.bicep.resource_types import ResourceTypes
from tests.deploy.bicep.syntax import BicepSyntaxError, sources_of
from tests.deploy.mistakes import LANGUAGE, MODULES, RESOURCES, Mistake
from tests.deploy.shared_data import ARM_TYPES, ROOT, needs_arm_types
from tests.deploy.test_bicep import FOLDERS, INFRA, name_of


def findings_of(mistake: Mistake, types: ResourceTypes) -> list[str]:
    sources = sources_of(INFRA)
    assert sources[mistake.file].count(mistake.right) >= 1, "our Bicep has changed: so must this mistake"
    sources[mistake.file] = sources[mistake.file].replace(mistake.right, mistake.wrong, 1)
    return Program(sources, types).check()


def place_of(mistake: Mistake) -> str:
    """The file of the mistake, and the line where it must be reported."""
    if mistake.at.endswith(".bicep"):
        return f"{mistake.at}:"
    right = (INFRA / mistake.file).read_text()
    wrong = right.replace(mistake.right, mistake.wrong, 1)
    if mistake.at:
        return f"{mistake.file}:{wrong[: wrong.index(mistake.at)].count(chr(10)) + 1}:"
    lines = zip(right.splitlines(), wrong.splitlines(), strict=False)
    return f"{mistake.file}:{next(n for n, (one, other) in enumerate(lines, 1) if one != other)}:"


@pytest.mark.parametrize("mistake", [*LANGUAGE.values(), *MODULES.values()], ids=[*LANGUAGE, *MODULES])
def test_a_mistake_in_names_and_modules_is_found_without_type_data(mistake: Mistake) -> None:
    found = findings_of(mistake, ResourceTypes(None))

    assert [one for one in found if one.startswith(place_of(mistake)) and mistake.said in one] != [], found


@needs_arm_types
@pytest.mark.parametrize("mistake", RESOURCES.values(), ids=RESOURCES)
def test_a_mistake_in_a_resource_is_found(mistake: Mistake) -> None:
    found = findings_of(mistake, ResourceTypes(ARM_TYPES))

    assert [one for one in found if one.startswith(place_of(mistake)) and mistake.said in one] != [], found


@pytest.mark.parametrize("wrong", ["param x string = ", "resource a 'b@c' = {", "var x = [1, 2", "output = 'x'"])
def test_what_does_not_parse_is_said_with_its_line(wrong: str) -> None:
    with pytest.raises(BicepSyntaxError, match=r"main\.bicep:\d+: syntax error"):
        Program({"main.bicep": f"param y string\n{wrong}\n"}, ResourceTypes(None))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_misspelt_symbol_is_found_on_its_line(folder: Path) -> None:
    sources, types = sources_of(folder), ResourceTypes(None)
    names = [one for one in mutants(sources) if one.kind == "name"]

    assert len(names) > 50
    assert [one[:4] for one in names if not is_found(one, sources, types)] == []


@needs_arm_types
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_misspelt_key_member_and_type_and_every_wrong_value_is_found_on_its_line(folder: Path) -> None:
    sources, types = sources_of(folder), ResourceTypes(ARM_TYPES)
    others = [one for one in mutants(sources) if one.kind != "name"]

    assert len(others) > 100
    missed = [one[:4] for one in others if not is_found(one, sources, types)]
    assert [one for one in missed if one[0] != "key" or one[-1] not in KEYS_OF_MAPS] == []


KEYS_OF_MAPS = ("ApiType", "ResourceId", "concurrentRequests")
"""Keys that no type knows, because their objects take any."""


def is_found(one: Mutant, sources: dict[str, str], types: ResourceTypes) -> bool:
    program = Program({**sources, one.file: one.source}, types)
    found = program.check([one.file]) or program.check()
    return any(finding.startswith(f"{one.file}:{one.line}: ") for finding in found)


PARAMETERS = {
    "an unknown one": ('"location":', '"region":', "region: main.bicep has no such parameter"),
    "a missing one": ('"location": { "value": "${AZURE_LOCATION}" },', "", "location: is missing"),
    "a number": ("${MODEL_CAPACITY=50}", "${MODEL_CAPACITY=many}", "modelCapacity: 'many' is not int"),
    "a truth value": ("${INCLUDE_REGISTRY=true}", "${INCLUDE_REGISTRY=yes}", "includeRegistry: 'yes' is not bool"),
    "a value that is not allowed": (
        "${MONITORING=auto}",
        "${MONITORING=never}",
        "monitoring: 'never' is not 'auto' | 'on' | 'off'",
    ),
    "an object for a list": ('"connections": { "value": []', '"connections": { "value": {}', "connections: "),
}


@pytest.mark.parametrize(("right", "wrong", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_mistake_in_the_parameters_is_found(right: str, wrong: str, said: str) -> None:
    text = (ROOT / "infra/main.parameters.json").read_text()
    assert right in text

    found = check_parameters(Program(sources_of(INFRA), ResourceTypes(None)), text.replace(right, wrong))

    assert [one for one in found if said in one] != [], found
