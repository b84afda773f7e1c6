"""Checks environment variables, and lists each with its value and source, on this machine and when deployed.

On this machine, the process's variables override `.env`. When deployed, the platform's override `azure.yaml`, which azd
expands from the selected azd environment. `.env` is never deployed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hostedagent.cli.doctor.azure_yaml import REFERENCE
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.platform import ENDPOINT_VARIABLE as ENDPOINT
from hostedagent.platform import HOSTING_VARIABLE as HOSTED
from hostedagent.platform import INSIGHTS_VARIABLE, MODEL_VARIABLES, RESERVED_PREFIXES
from hostedagent.platform import MODEL_VARIABLE as MODEL

CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

PLATFORM: Final[dict[str, str]] = {
    ENDPOINT: "the project's endpoint",
    HOSTED: "not empty",
    INSIGHTS_VARIABLE: "if the project has the connection",
    "PORT": "8088",
    "HOME": "/home/session",
}
"""Variables that the platform sets in the container, with a description of the value."""
_READ: Final = (MODEL, CAPTURE, "OTEL_EXPORTER_OTLP_ENDPOINT", "AZURE_CLIENT_ID", "AZURE_TENANT_ID")

_FORMS: Final = {ENDPOINT: "https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT", MODEL: "DEPLOYMENT"}
"""Format of a value, by variable."""

_ENDPOINT: Final = re.compile(r"https://[\w.-]+/api/projects/[\w.-]+/?")
_SECRET_NAME: Final = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|CONNECTION_STRING|SAS", re.IGNORECASE)
_SECRET_VALUE: Final = re.compile(
    r"(AccountKey|SharedAccessKey|InstrumentationKey|sig)=|://[^/@\s]+:[^/@\s]+@", re.IGNORECASE
)

ENDPOINT_FORM: Final = Rule(
    "env.endpoint",
    "error",
    ENDPOINT + " is {value!r} ({source}); it has the form " + _FORMS[ENDPOINT] + ".",
    "azd env get-value " + ENDPOINT,
)
MODEL_UNSET: Final = Rule(
    "env.model",
    "error",
    ENDPOINT + " is set ({source}), and no " + MODEL + ": the agent does not know its model.",
    "{command}",
)
HOSTED_HERE: Final = Rule(
    "env.hosted",
    "warning",
    HOSTED + " is set ({source}), so a run here takes itself for hosted and refuses requests without an identity.",
    "unset " + HOSTED,
)
CAPTURED: Final = Rule(
    "env.capture",
    "warning",
    CAPTURE
    + " is {value!r} ({source}): prompts and answers go into telemetry and, without an exporter, to the console.",
    "In {place} write: {line}",
)
DIFFERS: Final = Rule(
    "env.differs",
    "warning",
    "{name} is {here} in .env and {there} in the azd environment {environment}.",
    "azd env get-value {name}  # and write it to .env",
)
DOTENV_OPEN: Final = Rule(
    "env.dotenv", "warning", ".env is not in .gitignore: a secret in it would be committed.", "echo .env >> .gitignore"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A value, with secrets masked, and where it comes from."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A row of the table; `None` for an unset variable."""

    name: str
    here: Place | None
    deployed: Place | None


def variables(project: Project) -> list[Variable]:
    """The table of variables: those that `.env` and `azure.yaml` set, and those that the host reads."""
    declared = _declared(project)
    local = project.local
    names = [*project.dotenv, *declared, *(name for name in (*PLATFORM, *_READ) if name in local), *PLATFORM]
    rows = [Variable(name, _here(project, name), _deployed(project, name, declared)) for name in dict.fromkeys(names)]
    return sorted(rows, key=lambda row: row.name)


def environment(project: Project) -> Iterator[Finding]:
    """Check the values."""
    local = project.local
    endpoint = local.get(ENDPOINT, "")
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        yield ENDPOINT_FORM.found(value=endpoint, source=_source(project, ENDPOINT))
    if endpoint and not any(local.get(name) for name in MODEL_VARIABLES):
        yield MODEL_UNSET.found(source=_source(project, ENDPOINT), command=setting(project, MODEL))
    if local.get(HOSTED):
        yield HOSTED_HERE.found(source=_source(project, HOSTED))
    yield from _captured(project)
    for name, here in project.dotenv.items():
        there = project.azd.get(name, "")
        if here and there and here != there:
            yield DIFFERS.found(
                name=name, here=masked(name, here), there=masked(name, there), environment=project.azd_name
            )
    if (project.folder / ".env").is_file() and not _is_ignored(project):
        yield DOTENV_OPEN.found()


def setting(project: Project, name: str) -> str:
    """The command that sets a variable, from the azd environment if possible; with the endpoint, also the model."""
    has_model = any(project.local.get(alias) for alias in MODEL_VARIABLES)
    names = [ENDPOINT, MODEL] if name == ENDPOINT and not has_model else [name]
    known = [f"echo {one}=$(azd env get-value {one}) >> .env" for one in names if project.azd.get(one)]
    unknown = [f"{one}={_FORMS.get(one, 'VALUE')}" for one in names if not project.azd.get(one)]
    return " && ".join([*known, *([f"export {' '.join(unknown)}"] if unknown else [])])


def masked(name: str, value: str) -> str:
    """The value, or stars for what looks like a secret."""
    return "****" if value and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value)) else value


def _captured(project: Project) -> Iterator[Finding]:
    here, deployed = project.local.get(CAPTURE, ""), str(_declared(project).get(CAPTURE, ""))
    if here.lower() in ("true", "1"):
        yield CAPTURED.found(value=here, source=_source(project, CAPTURE), place=".env", line=f"{CAPTURE}=false")
    if deployed.lower() in ("true", "1"):
        yield CAPTURED.found(value=deployed, source="azure.yaml", place="azure.yaml", line=f'{CAPTURE}: "false"')


def _declared(project: Project) -> Mapping[str, object]:
    return {name: value for service in project.agents for name, value in service.env.items()}


def _here(project: Project, name: str) -> Place | None:
    value = project.local.get(name)
    return Place(masked(name, value), _source(project, name)) if value is not None else None


def _source(project: Project, name: str) -> str:
    if name not in project.process:
        return ".env"
    return "process, not .env" if name in project.dotenv else "process"


def _deployed(project: Project, name: str, declared: Mapping[str, object]) -> Place | None:
    if name in PLATFORM or name.startswith(RESERVED_PREFIXES):
        return Place(PLATFORM.get(name, ""), "platform")
    if name not in declared:
        return None
    text = str(declared[name])
    references = REFERENCE.findall(text)
    if not references:
        return Place(masked(name, text), "azure.yaml")
    value = REFERENCE.sub(lambda found: project.azd.get(found[1], ""), text)
    origin = f".azure/{project.azd_name}/.env" if project.azd_name else "azd provision"
    return Place(masked(name, value), f"azure.yaml, {', '.join(references)} from {origin}")


def _is_ignored(project: Project) -> bool:
    lines = {line.strip() for line in (project.text(".gitignore") or "").splitlines()}
    return bool(lines & {".env", "/.env", ".env*", "*.env", "**/.env", ".*"})
