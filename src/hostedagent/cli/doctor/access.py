"""Checks of tools, credentials and roles.

Without `--online` only this machine is checked: whether a user is signed in, without requesting a token. With it, a
token is requested and the roles are listed, in bounded time; see `online`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.platform import ENDPOINT_VARIABLE as ENDPOINT
from hostedagent.protocol.values import fields_of

PROJECT_ID: Final = "AZURE_AI_PROJECT_ID"

ROLES: Final[dict[str, tuple[str, str]]] = {
    "eadc314b-1a2d-4efa-be10-5d325db5065e": ("Foundry Project Manager", "deploys agents"),
    "53ca6127-db72-4b80-b1b0-d745d6d5456d": ("Foundry User", "runs the agent here, or calls it"),
}
"""Role to its name and to the principal that needs it on the project. Owner and Contributor do not replace them."""

ASSIGN: Final = (
    'az role assignment create --assignee-object-id "{principal}" --assignee-principal-type {kind}'
    ' --role {role} --scope "{scope}"'
)
SIGNED_IN: Final = "$(az ad signed-in-user show --query id --output tsv)"

NO_AZD: Final = Rule(
    "tools.azd",
    "warning",
    "azd is not installed; azure.yaml is for azd.",
    "curl -fsSL https://aka.ms/install-azd.sh | bash && azd ext install microsoft.foundry",
)
NOT_SIGNED_IN: Final = Rule(
    "credentials.azd", "warning", "azd is installed, but no user is signed in.", "azd auth login"
)
NONE: Final = Rule(
    "credentials.none",
    "error",
    ENDPOINT + " is set, and nothing here can sign in: no az, no azd, no AZURE_* variables, no managed identity.",
    "az login",
)
INCOMPLETE: Final = Rule(
    "credentials.incomplete",
    "error",
    "AZURE_CLIENT_SECRET is set, and {missing} is not: the secret cannot be used.",
    "export {missing}=$(az ad sp list --display-name NAME --query '[0].{query}' --output tsv)",
)
NEEDED: Final = Rule(
    "roles.needed", "note", "Who {who} needs the role {name} on the project. Owner is not enough.", ASSIGN
)


def tools(project: Project) -> Iterator[Finding]:
    """Check the commands that a deployment needs, for projects with an `azure.yaml`."""
    if project.config is None:
        return
    if shutil.which("azd", path=project.process.get("PATH")) is None:
        yield NO_AZD.found()
    elif not _azd_signed_in(project):
        yield NOT_SIGNED_IN.found()


def credentials(project: Project) -> Iterator[Finding]:
    """Check whether a user is signed in, if the agent needs that on this machine."""
    local = project.local
    if local.get("AZURE_CLIENT_SECRET"):
        for name, query in (("AZURE_CLIENT_ID", "appId"), ("AZURE_TENANT_ID", "appOwnerOrganizationId")):
            if not local.get(name):
                yield INCOMPLETE.found(missing=name, query=query)
    if local.get(ENDPOINT) and not any((_in_variables(local), _az_signed_in(project), _azd_signed_in(project))):
        yield NONE.found()


def roles(project: Project) -> Iterator[Finding]:
    """Check the required roles, if the project is known."""
    scope = project.azd.get(PROJECT_ID) or project.local.get(PROJECT_ID)
    if not scope:
        return
    principal, kind = principal_of(project)
    for role, (name, who) in ROLES.items():
        yield NEEDED.found(who=who, name=name, principal=principal, kind=kind, role=role, scope=scope)


def principal_of(project: Project) -> tuple[str, str]:
    """The principal of the roles and its type, from azd or else from az."""
    known = {**project.process, **project.azd}
    return known.get("AZURE_PRINCIPAL_ID") or SIGNED_IN, known.get("AZURE_PRINCIPAL_TYPE") or "User"


def _in_variables(local: Mapping[str, str]) -> bool:
    proofs = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")
    is_principal = bool(local.get("AZURE_CLIENT_ID") and local.get("AZURE_TENANT_ID"))
    is_managed = any(local.get(name) for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT"))
    return is_managed or (is_principal and any(local.get(name) for name in proofs))


def _az_signed_in(project: Project) -> bool:
    folder = _folder(project, "AZURE_CONFIG_DIR", ".azure")
    return bool(fields_of(_json(folder / "azureProfile.json")).get("subscriptions"))


def _azd_signed_in(project: Project) -> bool:
    folder = _folder(project, "AZD_CONFIG_DIR", ".azd")
    for name in ("auth.json", "config.json"):
        auth = fields_of(fields_of(_json(folder / name)).get("auth"))
        if fields_of(auth.get("account")).get("currentUser") or auth.get("useAzCliAuth"):
            return True
    return False


def _folder(project: Project, variable: str, name: str) -> Path:
    return Path(project.process.get(variable) or Path(project.process.get("HOME") or Path.home()) / name)


def _json(path: Path) -> object:
    try:
        # az writes a byte order mark.
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
