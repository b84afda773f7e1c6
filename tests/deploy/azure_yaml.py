"""azure.yaml against azd's own schemas, and against what the schemas cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft201909Validator
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource

from tests.deploy.shared_data import AZD_SCHEMAS

_HOME = "https://raw.githubusercontent.com/Azure/azure-dev/main/"
_REFERENCE = re.compile(r"(?<!\$)\$\{[^{]")
_SIZES = {("0.5", "1Gi"), ("1", "2Gi"), ("2", "4Gi")}


def schema_errors(text: str) -> list[str]:
    """What azd's schemas say against a file, with the place in it."""
    schema = json.loads((AZD_SCHEMAS / "schemas/v1.0/azure.yaml.json").read_text())
    registry: Registry[Any] = Registry(retrieve=cast("Any", _retrieve))
    validator = cast("Any", Draft201909Validator(schema, registry=registry))
    errors = sorted(validator.iter_errors(yaml.safe_load(text)), key=lambda one: one.json_path)
    return [f"{one.json_path}: {one.message}" for one in errors]


def _retrieve(uri: str) -> Resource[Any]:
    path = AZD_SCHEMAS / uri.removeprefix(_HOME)
    if not uri.startswith(_HOME) or not path.is_file():
        raise NoSuchResource(ref=uri)
    return Resource.from_contents(json.loads(path.read_text()))


def house_errors(text: str, folder: Path, provided: set[str]) -> list[str]:
    """What the schemas let pass and the platform or azd does not, with the place.

    Args:
        text: The file.
        folder: Where it stands.
        provided: The variables that azd has when it deploys.
    """
    config = yaml.safe_load(text)
    errors = list(_infra_errors(config.get("infra", {}), folder))
    for name, service in config["services"].items():
        place = f"services.{name}"
        errors += [
            f"{place}.uses: no service {one!r}" for one in service.get("uses", []) if one not in config["services"]
        ]
        if service["host"] == "azure.ai.agent":
            errors += [f"{place}.{one}" for one in _agent_errors(service, folder, provided)]
    return errors


def _infra_errors(infra: dict[str, Any], folder: Path) -> Iterator[str]:
    if infra.get("provider") != "bicep":
        yield "infra.provider: only bicep leaves outputs and parameters as they are"
    for suffix in ("bicep", "parameters.json"):
        path = f"{infra.get('path', 'infra')}/{infra.get('module', 'main')}.{suffix}"
        if not (folder / path).is_file():
            yield f"infra: there is no {path}"


def _agent_errors(service: dict[str, Any], folder: Path, provided: set[str]) -> Iterator[str]:
    if {"protocol": "responses", "version": "2.0.0"} not in service.get("protocols", []):
        yield "protocols: not responses 2.0.0"
    resources = service.get("container", {}).get("resources", {})
    if (resources.get("cpu"), resources.get("memory")) not in _SIZES:
        yield f"container.resources: there is no such size: {resources}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", service.get("name", "")):
        yield f"name: {service.get('name')!r} is no name of an agent"
    for path in _paths_with_references(service, ""):
        yield f"{path}: azd does not fill in variables here"
    for name, value in service.get("env", {}).items():
        if re.match("FOUNDRY_|AGENT_", name):
            yield f"env.{name}: the name is the platform's"
        for one in re.findall(r"(?<!\$)\$\{(\w+)", value):
            if one not in provided:
                yield f"env.{name}: nothing sets {one}"
    yield from _docker_errors(service.get("docker", {}), folder / service["project"])


def _docker_errors(docker: dict[str, Any], folder: Path) -> Iterator[str]:
    if docker and docker.get("platform") != "linux/amd64":
        yield "docker.platform: not linux/amd64"
    if docker and not (folder / docker.get("path", "Dockerfile")).is_file():
        yield f"docker.path: there is no {docker.get('path')}"


def _paths_with_references(value: object, path: str) -> Iterator[str]:
    match value:
        case str() if _REFERENCE.search(value):
            yield path
        case dict():
            for key, inner in cast("dict[str, object]", value).items():
                if path or key not in ("env", "image"):
                    yield from _paths_with_references(inner, f"{path}.{key}".lstrip("."))
        case list():
            for number, inner in enumerate(cast("list[object]", value)):
                yield from _paths_with_references(inner, f"{path}[{number}]")
        case _:
            return
