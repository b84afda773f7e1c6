"""The agent of samples/foundry on Azure Container Apps: callers sign in there, and its replicas share their state.

Container Apps' authentication checks each caller's token and tells the app whose it is, in a header that it takes away
from what the caller sent. That holds only while authentication is switched on, which infra/main.bicep does.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent_framework import SupportsAgentRun

from hostedagent import AgentHost, ConfigurationError, HostOptions, IsolationKeys, Scope, Stores, postgres_stores
from hostedagent.errors import Unauthenticated

PRINCIPAL = "x-ms-client-principal"
"""The caller's claims as base64 of JSON."""

TENANT_CLAIMS = ("tid", "http://schemas.microsoft.com/identity/claims/tenantid")
OBJECT_CLAIMS = ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier")
"""Microsoft Entra's claims, by their short names or by those that they are mapped to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyAuthScopeResolver:
    """Takes the caller from Container Apps' authentication; without it nobody gets in.

    Args:
        tenant: The one tenant whose callers are served.
    """

    tenant: str

    def __call__(self, headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        """Resolve the caller.

        Raises:
            Unauthenticated: The header is absent, cannot be read, or names no caller of the tenant.
        """
        claims = _claims(headers.get(PRINCIPAL, ""))
        if _claim(claims, TENANT_CLAIMS) != self.tenant:
            raise Unauthenticated(f"{PRINCIPAL} names no caller of this tenant.")
        user = f"{self.tenant}/{_claim(claims, OBJECT_CLAIMS)}"
        return IsolationKeys(user), Scope(f"easy-auth:{user}")


def _claims(header: str) -> list[Mapping[str, object]]:
    try:
        principal: Any = json.loads(base64.b64decode(header, validate=True))
        claims = cast("list[object]", principal["claims"])
        return [cast("Mapping[str, object]", claim) for claim in claims if isinstance(claim, dict)]
    except (binascii.Error, ValueError, LookupError, TypeError) as error:
        raise Unauthenticated(f"The request carries no identity ({PRINCIPAL}).") from error


def _claim(claims: list[Mapping[str, object]], names: tuple[str, ...]) -> str:
    found = {value for claim in claims if claim.get("typ") in names and (value := claim.get("val"))}
    if len(found) != 1 or not isinstance(value := found.pop(), str):
        raise Unauthenticated(f"{PRINCIPAL} must have one claim {names[0]!r}.")
    return value


def make_host(agent: SupportsAgentRun, stores: Stores, environment: Mapping[str, str]) -> AgentHost:
    tenant = environment.get("EASY_AUTH_TENANT_ID")
    if not tenant:
        raise ConfigurationError("EASY_AUTH_TENANT_ID is not set: see samples/self_hosted/README.md.")
    return AgentHost(
        agent,
        driver="starlette",
        stores=stores,
        resolve_scope=EasyAuthScopeResolver(tenant=tenant),
        options=HostOptions(resilient_background=True),
    )


def open_stores(environment: Mapping[str, str]) -> Stores:
    """The database, by a token for the app's identity where Azure has it."""
    dsn = environment.get("HOSTEDAGENT_DSN")
    if not dsn:
        raise ConfigurationError("HOSTEDAGENT_DSN is not set: see samples/self_hosted/README.md.")
    if "postgres.database.azure.com" not in dsn:
        return postgres_stores(dsn)
    from azure.identity.aio import DefaultAzureCredential

    return postgres_stores(dsn, credential=DefaultAzureCredential())


def load() -> AgentHost:
    from samples.foundry.agent import agent

    return make_host(agent, open_stores(os.environ), os.environ)


host = load()

if __name__ == "__main__":
    host.run()
