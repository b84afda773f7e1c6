"""Checks that ask Azure, for `--online`: a token for the Foundry project, and the roles of its principal.

All checks together take at most `PATIENCE` seconds. Only names of roles and of error classes are shown.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from hostedagent.cli.doctor.access import ASSIGN, PROJECT_ID, ROLES
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.platform import DATA_SCOPE
from hostedagent.protocol.values import fields_of, rows_of

PATIENCE: Final = 30.0
ARM: Final = "https://management.azure.com"

ALSO: Final[dict[str, frozenset[str]]] = {
    "eadc314b-1a2d-4efa-be10-5d325db5065e": frozenset({"c883944f-8b7b-4483-af10-35834be79c4a"}),
    "53ca6127-db72-4b80-b1b0-d745d6d5456d": frozenset(
        {"c883944f-8b7b-4483-af10-35834be79c4a", "eadc314b-1a2d-4efa-be10-5d325db5065e"}
    ),
}
"""Role to the roles that hold it as well: Foundry Owner, and Foundry Project Manager for Foundry User."""

NO_TOKEN: Final = Rule("credentials.token", "error", "There is no token for " + DATA_SCOPE + ": {reason}.", "az login")
MISSING: Final = Rule(
    "roles.missing",
    "error",
    "{principal} lacks the role {name} on the project; the identity that {who} needs it.",
    ASSIGN,
)
UNKNOWN: Final = Rule(
    "roles.unknown",
    "warning",
    "The roles on the project could not be listed: {reason}.",
    'az role assignment list --all --assignee "{principal}" --query "[].roleDefinitionName"',
)


class Credential(Protocol):
    """The part of `azure.identity.aio.DefaultAzureCredential` in use."""

    async def get_token(self, *scopes: str) -> Any:
        """An access token."""
        ...


OpenCredential = Callable[[], AbstractAsyncContextManager[Credential]]


def default_credential() -> AbstractAsyncContextManager[Credential]:
    """The credential that an agent uses."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential(process_timeout=10)


def token(project: Project, open_credential: OpenCredential = default_credential) -> Iterator[Finding]:
    """Check whether a token for Foundry can be obtained."""
    del project
    try:
        asyncio.run(_token(open_credential, DATA_SCOPE))
    except Exception as error:  # noqa: BLE001  # Whatever the chain of credentials raises is the finding.
        yield NO_TOKEN.found(reason=_reason(error))


def roles(project: Project, open_credential: OpenCredential = default_credential, arm: str = ARM) -> Iterator[Finding]:
    """Check whether the signed-in principal has the roles, directly or through a group."""
    scope = project.azd.get(PROJECT_ID) or project.local.get(PROJECT_ID)
    if not scope:
        return
    principal = "$(az ad signed-in-user show --query id --output tsv)"
    try:
        claims, held = asyncio.run(_held(open_credential, arm, scope))
    except Exception as error:  # noqa: BLE001  # As above.
        yield UNKNOWN.found(reason=_reason(error), principal=principal)
        return
    kind = "ServicePrincipal" if claims.get("idtyp") == "app" else "User"
    for role, (name, who) in ROLES.items():
        if not held & {role, *ALSO[role]}:
            yield MISSING.found(
                principal=claims.get("oid", principal), name=name, who=who, kind=kind, role=role, scope=scope
            )


async def _token(open_credential: OpenCredential, audience: str) -> str:
    async with asyncio.timeout(PATIENCE), open_credential() as credential:
        return str((await credential.get_token(audience)).token)


async def _held(open_credential: OpenCredential, arm: str, scope: str) -> tuple[Mapping[str, Any], set[str]]:
    import aiohttp

    async with asyncio.timeout(PATIENCE):
        bearer = await _token(open_credential, f"{ARM}/.default")
        claims = _claims(bearer)
        url = f"{arm}{scope}/providers/Microsoft.Authorization/roleAssignments"
        query = {"api-version": "2022-04-01", "$filter": f"assignedTo('{claims.get('oid', '')}')"}
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {bearer}"}, raise_for_status=True) as session,
            session.get(url, params=query) as answer,
        ):
            listed = fields_of(await answer.json())
    definitions = [
        fields_of(fields_of(row).get("properties")).get("roleDefinitionId") for row in rows_of(listed.get("value"))
    ]
    return claims, {str(definition).rpartition("/")[2] for definition in definitions}


def _claims(bearer: str) -> Mapping[str, Any]:
    body = bearer.partition(".")[2].partition(".")[0]
    try:
        return fields_of(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    except ValueError:
        return {}


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
