"""Checks of `azure.yaml`: what azd or the platform would refuse, or would take and then not do. No network, no schema.

The rules that need the whole file stand first; those of one hosted agent follow.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hostedagent.cli.doctor.dockerfile import BINDS_LOOPBACK
from hostedagent.cli.doctor.project import Project, Service, started
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.cli.doctor.versions import versions
from hostedagent.platform import RESERVED_PREFIXES
from hostedagent.protocol.values import fields_of, rows_of
from hostedagent.templates import LOCK

PROTOCOL: Final = "2.0.0"
_SERVED: Final = ("responses", "invocations", "invocations_ws")
"""The protocols that this package can serve. Others that a service declares are the application's."""
SIZES: Final = {"0.5": "1Gi", "1": "2Gi", "2": "4Gi"}
"""The available sandbox sizes: cores to memory."""
AZD_OWN: Final = frozenset(
    {
        "AZURE_ENV_NAME",
        "AZURE_LOCATION",
        "AZURE_PRINCIPAL_ID",
        "AZURE_PRINCIPAL_TYPE",
        "AZURE_RESOURCE_GROUP",
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_TENANT_ID",
    }
)
"""Variables that azd sets in every environment."""

REFERENCE: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_]\w*)\}")
_ANY_REFERENCE: Final = re.compile(r"(?<!\$)\$\{(?!\{)")
_APP_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUTPUT: Final = re.compile(r"^output\s+(\w+)", re.MULTILINE)
_SECRET: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CONNECTION_STRING", re.IGNORECASE)
_IDLE: Final = (120, 300, 3600)

MISSING: Final = Rule(
    "yaml.missing",
    "warning",
    "There is no azure.yaml, so azd cannot deploy this.",
    "{command}",
)
BROKEN: Final = Rule(
    "yaml.broken", "error", "azure.yaml cannot be read: {reason}.", "Correct azure.yaml at the place that is named."
)
APP_NAME: Final = Rule(
    "yaml.name",
    "error",
    "azure.yaml: name is {name!r}; azd takes lower-case letters, digits and hyphens.",
    "In azure.yaml write: name: {wanted}",
)
NO_AGENT: Final = Rule(
    "yaml.agent",
    "error",
    "azure.yaml: no service has the host azure.ai.agent.",
    "In azure.yaml write below the agent's service: host: azure.ai.agent",
)
INFRA: Final = Rule(
    "yaml.infra",
    "error",
    "azure.yaml: the infrastructure is to be in {path}, where there is no {module}.bicep.",
    "{command}",
)
USES: Final = Rule(
    "yaml.uses",
    "error",
    "azure.yaml: {path}.uses names {name!r}, which is not a service or resource.",
    "In azure.yaml write below services: {name}: {{host: azure.ai.project}}",
)
LEGACY: Final = Rule(
    "yaml.legacy",
    "warning",
    "{file} is deprecated, and azure.yaml has what it says.",
    "git rm {file}",
)
KIND: Final = Rule("yaml.kind", "error", "azure.yaml: {path}.kind is {kind!r}.", "In azure.yaml write: kind: hosted")
PROJECT: Final = Rule(
    "yaml.project",
    "error",
    "azure.yaml: {path} does not say in which folder the agent is, which azd needs.",
    "In azure.yaml write: project: .",
)
AGENT_NAME: Final = Rule(
    "yaml.agent_name",
    "error",
    "azure.yaml: {path}.name is {name!r}; a name has up to 63 letters, digits and hyphens, and no hyphen at an end.",
    "In azure.yaml write: name: {wanted}",
)
UNEXPANDED: Final = Rule(
    "yaml.unexpanded",
    "error",
    "azure.yaml: {path} is {value!r}; azd expands variables in env and image, and not here.",
    "In azure.yaml write the value itself in {path}.",
)
PROTOCOLS: Final = Rule(
    "yaml.protocol",
    "error",
    "azure.yaml: {path}.protocols has {protocol} in version {version}; the platform takes " + PROTOCOL + ".",
    "In azure.yaml write: protocols: [{{protocol: {protocol}, version: " + PROTOCOL + "}}]",
)
SIZE: Final = Rule(
    "yaml.size",
    "error",
    "azure.yaml: {path}.container.resources has cpu {cpu!r} and memory {memory!r}. Supported: "
    + ", ".join(f'"{cpu}" and {memory}' for cpu, memory in SIZES.items())
    + ".",
    'In azure.yaml write: resources: {{cpu: "{near}", memory: {near_memory}}}',
)
IDLE: Final = Rule(
    "yaml.idle",
    "error",
    "azure.yaml: {path}.sessionConfiguration.idleTimeoutSeconds is {seconds!r}; it is a number from 120 to 3600.",
    "In azure.yaml write: idleTimeoutSeconds: 900",
)
IDLE_LOW: Final = Rule(
    "yaml.idle_low",
    "warning",
    "azure.yaml: {path}.sessionConfiguration.idleTimeoutSeconds is {seconds}; azd's schema wants 300 at least.",
    "In azure.yaml write: idleTimeoutSeconds: 300",
)
NO_DOCKERFILE: Final = Rule(
    "yaml.no_dockerfile", "error", "azure.yaml: {path} is built from {file}, which does not exist.", "{command}"
)
DOCKERFILE: Final = Rule(
    "yaml.dockerfile",
    "error",
    "azure.yaml: {path}.docker.path is {file}, which does not exist.",
    "In azure.yaml write: docker: {{path: ./Dockerfile, context: ., platform: linux/amd64, remoteBuild: true}}",
)
START: Final = Rule(
    "yaml.start",
    "error",
    "azure.yaml: {path}.startupCommand starts {file}, which does not exist.",
    "In azure.yaml write: startupCommand: python -m hostedagent run{target}",
)
LOOPBACK: Final = Rule(
    "yaml.loopback",
    "error",
    "azure.yaml: {path}.startupCommand binds {address}, which nothing outside of the container reaches.",
    "In azure.yaml write: startupCommand: {command}",
)
PLATFORM: Final = Rule(
    "yaml.platform",
    "error",
    "azure.yaml: {path}.docker.platform is {platform!r}; the platform runs linux/amd64.",
    "In azure.yaml write: platform: linux/amd64",
)
RESERVED_NAME: Final = Rule(
    "yaml.reserved",
    "error",
    "azure.yaml: {path}.env declares {name}; names that begin with FOUNDRY_ or AGENT_ are refused.",
    "In azure.yaml remove {name} from {path}.env: the platform sets its own.",
)
VARIABLE_NAME: Final = Rule(
    "yaml.variable_name",
    "error",
    "azure.yaml: {path}.env declares {name!r}; names have letters, digits and underscores.",
    "In azure.yaml write: {wanted}: ...",
)
VARIABLE_TEXT: Final = Rule(
    "yaml.variable_text",
    "error",
    "azure.yaml: {path}.env.{name} is {value!r}; values are text.",
    'In azure.yaml write: {name}: "{wanted}"',
)
CONNECTION: Final = Rule(
    "yaml.connection",
    "error",
    "azure.yaml: {path}.env.{name} refers to a connection by ${{{{...}}}}, which azd takes for a variable of its own.",
    "In azure.yaml write two dollar signs: {name}: {wanted}",
)
NOT_SET: Final = Rule(
    "yaml.not_set",
    "warning",
    "azure.yaml: {path}.env.{name} is made from {variable}, which nothing sets: it would be empty.",
    "azd env set {variable} VALUE",
)
PLAIN_SECRET: Final = Rule(
    "yaml.secret",
    "warning",
    "azure.yaml: {path}.env.{name} looks like a secret, in plain text.",
    "azd env set {name} VALUE, and in azure.yaml write: {name}: ${{{name}}}",
)


def azure_yaml(project: Project) -> Iterator[Finding]:
    """The whole file."""
    for name in ("agent.yaml", "agent.manifest.yaml"):
        if (project.folder / name).exists():
            yield LEGACY.found(file=name)
    if project.broken:
        yield BROKEN.found(reason=project.broken)
    elif project.config is None:
        yield MISSING.found(command=_init(project.folder, ["azure.yaml", "infra", *image(project.folder)]))
    else:
        yield from _whole(project, project.config)
        for service in project.agents:
            for check in _OF_AN_AGENT:
                yield from check(service)
            for check in _IN_ITS_PROJECT:
                yield from check(project, service)


def _whole(project: Project, config: Mapping[str, Any]) -> Iterator[Finding]:
    name = str(config.get("name") or "")
    if not _APP_NAME.fullmatch(name):
        yield APP_NAME.found(name=name, wanted=_slug(name).lower())
    if not project.agents:
        yield NO_AGENT.found()
    yield from versions(config)
    infra = fields_of(config.get("infra"))
    path, module = str(infra.get("path") or "infra"), str(infra.get("module") or "main")
    if infra.get("provider", "bicep") == "bicep" and not (project.folder / path / f"{module}.bicep").is_file():
        command = _init(project.folder, ["infra"])
        if Path(path) != Path("infra"):
            place = shlex.quote(path)
            command = f"hostedagent init {place} --yes --only infra && mv {place}/infra/* {place}"
        yield INFRA.found(path=path, module=module, command=command)


def _uses(project: Project, service: Service) -> Iterator[Finding]:
    config = fields_of(project.config)
    known = {*fields_of(config.get("services")), *fields_of(config.get("resources"))}
    for name in rows_of(service.at("uses")):
        if name not in known:
            yield USES.found(path=service.path, name=name)


def _kind(service: Service) -> Iterator[Finding]:
    if service.at("kind") != "hosted":
        yield KIND.found(path=service.path, kind=service.at("kind"))


def _folder(service: Service) -> Iterator[Finding]:
    if not service.at("project"):
        yield PROJECT.found(path=service.path)


def _name(service: Service) -> Iterator[Finding]:
    name = str(service.at("name") or "")
    if not _AGENT_NAME.fullmatch(name) and not _ANY_REFERENCE.search(name):
        yield AGENT_NAME.found(path=service.path, name=name, wanted=_slug(name)[:63].strip("-"))


def _unexpanded(service: Service) -> Iterator[Finding]:
    places = [("name",), ("container", "resources", "cpu"), ("container", "resources", "memory"), ("startupCommand",)]
    values = [(".".join(place), service.at(*place)) for place in places]
    values += [(f"protocols[{n}].version", row.get("version")) for n, row in enumerate(_protocols(service))]
    for where, value in values:
        if _ANY_REFERENCE.search(str(value)):
            yield UNEXPANDED.found(path=f"{service.path}.{where}", value=value)


def _protocol(service: Service) -> Iterator[Finding]:
    for protocol, version in (declared(service) or {"responses": "none"}).items():
        if version != PROTOCOL and not _ANY_REFERENCE.search(str(version)):
            yield PROTOCOLS.found(path=service.path, protocol=protocol, version=version)


def _size(service: Service) -> Iterator[Finding]:
    cpu, memory = (service.at("container", "resources", key) for key in ("cpu", "memory"))
    if (cpu is None and memory is None) or _ANY_REFERENCE.search(f"{cpu} {memory}"):
        return
    if not isinstance(cpu, str) or SIZES.get(cpu) != memory:
        near = _near(cpu)
        yield SIZE.found(path=service.path, cpu=cpu, memory=memory, near=near, near_memory=SIZES[near])


def _idle(service: Service) -> Iterator[Finding]:
    seconds = service.at("sessionConfiguration", "idleTimeoutSeconds")
    least, usual, most = _IDLE
    if seconds is None:
        return
    if not isinstance(seconds, int) or not least <= seconds <= most:
        yield IDLE.found(path=service.path, seconds=seconds)
    elif seconds < usual:
        yield IDLE_LOW.found(path=service.path, seconds=seconds)


def _docker(project: Project, service: Service) -> Iterator[Finding]:
    if service.at("image") or service.at("codeConfiguration"):
        return
    file, place = str(service.at("docker", "path") or "Dockerfile"), _place(service)
    if not (project.folder / place / file).is_file():
        if files := image(project.folder / place):
            yield NO_DOCKERFILE.found(path=service.path, file=file, command=_init(project.folder, files, place))
        else:
            yield DOCKERFILE.found(path=service.path, file=file)
    platform = str(service.at("docker", "platform") or "linux/amd64")
    if platform not in ("linux/amd64", "amd64"):
        yield PLATFORM.found(path=service.path, platform=platform)


def _start(project: Project, service: Service) -> Iterator[Finding]:
    command = str(service.at("startupCommand") or "")
    if bound := BINDS_LOOPBACK.search(command):
        wanted = command.replace(bound[0], "--host 0.0.0.0")
        yield LOOPBACK.found(path=service.path, address=bound[1], command=wanted)
    files = started(service.at("startupCommand"))
    if files and not any((project.folder / _place(service) / file).is_file() for file in files):
        yield START.found(path=service.path, file=files[0], target=f" {project.target}" if project.target else "")


def _names(service: Service) -> Iterator[Finding]:
    for name in map(str, service.env):
        if not _VARIABLE.fullmatch(name):
            yield VARIABLE_NAME.found(path=service.path, name=name, wanted=re.sub(r"\W", "_", name))
        elif name.upper().startswith(RESERVED_PREFIXES):
            yield RESERVED_NAME.found(path=service.path, name=name)


def _values(project: Project, service: Service) -> Iterator[Finding]:
    known = {*project.azd, *project.process, *AZD_OWN, *_OUTPUT.findall(project.text("infra/main.bicep") or "")}
    for name, value in service.env.items():
        if not isinstance(value, str):
            wanted = str(value).lower() if isinstance(value, bool) else value
            yield VARIABLE_TEXT.found(path=service.path, name=name, value=value, wanted=wanted)
            continue
        if re.search(r"(?<!\$)\$\{\{", value):
            yield CONNECTION.found(path=service.path, name=name, wanted=value.replace("${{", "$${{"))
        for variable in REFERENCE.findall(value):
            if variable not in known:
                yield NOT_SET.found(path=service.path, name=name, variable=variable)
        if _SECRET.search(name) and value and "$" not in value:
            yield PLAIN_SECRET.found(path=service.path, name=name)


def image(folder: Path) -> list[str]:
    """The files for an image as `init` creates them; empty if there is a Dockerfile."""
    from hostedagent.cli.init.uv import WHEELS, installed_from

    if (folder / "Dockerfile").is_file():
        return []
    # A lock belongs to the pyproject.toml that it was made from; for another one, a command creates it.
    packages = [] if (folder / "pyproject.toml").exists() else ["pyproject.toml", LOCK]
    wheels = [] if installed_from() is None else [WHEELS]
    return ["Dockerfile", ".dockerignore", *packages, *wheels]


def _init(folder: Path, names: Sequence[str], to: str = ".") -> str:
    """The command that creates the missing ones of these files, to be run in the project's folder."""
    missing = ",".join(name for name in names if not (folder / to / name).exists())
    place = "" if Path(to) == Path() else f" {shlex.quote(to)}"
    return f"hostedagent init{place} --yes --only {missing}"


_OF_AN_AGENT: Final = (
    _kind,
    _folder,
    _name,
    _unexpanded,
    _protocol,
    _size,
    _idle,
    _names,
)
"""The checks of one hosted agent alone."""

_IN_ITS_PROJECT: Final = (_uses, _docker, _start, _values)
"""The checks of one hosted agent that need the whole project."""


def _place(service: Service) -> str:
    return str(service.at("project") or ".")


def _protocols(service: Service) -> list[Mapping[str, Any]]:
    return [fields_of(row) for row in rows_of(service.at("protocols"))]


def declared(service: Service) -> dict[str, Any]:
    """The protocols of this package that a service declares, each with its version."""
    return {row["protocol"]: row.get("version") for row in _protocols(service) if row.get("protocol") in _SERVED}


def _near(cpu: object) -> str:
    """The smallest size with at least as many cores."""
    try:
        wanted = float(str(cpu))
    except ValueError:
        wanted = 0.0
    return next((size for size in SIZES if float(size) >= wanted), "2")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "my-agent"
