"""`FoundryToolbox`: the tools of a toolbox in a Foundry project, used as the user of the turn.

The agent authenticates with its own identity. Foundry recognises the user by the call id that it sent with the request,
and uses that user's connections. A tool list is therefore cached per user, not per headers.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from hostedagent.errors import ConfigurationError
from hostedagent.mcp.toolset import McpTools
from hostedagent.platform import DATA_SCOPE, ENDPOINT_VARIABLE
from hostedagent.protocol.request.turn_request import TurnRequest

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

_API_VERSION: Final = "v1"
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})

EARLY_SECONDS: Final = 300.0
"""Seconds before its expiry at which a token is replaced."""


class FoundryToolbox(McpTools):
    """The tools of a Foundry project's toolbox.

    Example:
        ```python
        agent = Agent(client, context_providers=[FoundryToolbox("research")])
        ```

    Args:
        name: The toolbox's name.
        version: Version of the toolbox; by default the one that the project serves.
        project_endpoint: `https://<account>.services.ai.azure.com/api/projects/<project>`; by default the variable
            `FOUNDRY_PROJECT_ENDPOINT`, which Foundry sets.
        credential: A credential of `azure.identity.aio`, which the application closes; by default a
            `DefaultAzureCredential` that is opened for each new token.
        scope: Scope of the token.
        allowed_tools: See `McpTools`.
        needs_approval: See `McpTools`.
        prefix: See `McpTools`.
        patience: See `McpTools`.
        timeout: See `McpTools`.
        list_seconds: See `McpTools`; users never share a listing.
        retry_seconds: See `McpTools`.

    Raises:
        ConfigurationError: There is no usable endpoint, the credential is not an async one, or `mcp` is missing.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str | None = None,
        project_endpoint: str | None = None,
        credential: AsyncTokenCredential | None = None,
        scope: str = DATA_SCOPE,
        allowed_tools: frozenset[str] | None = None,
        needs_approval: bool | frozenset[str] = False,
        prefix: str | None = None,
        patience: float = 10.0,
        timeout: float = 120.0,
        list_seconds: float = 300.0,
        retry_seconds: float = 30.0,
    ) -> None:
        self._tokens = BearerTokens(credential, scope)
        super().__init__(
            name,
            toolbox_url(name, version, project_endpoint or os.environ.get(ENDPOINT_VARIABLE, "")),
            headers=self._make_headers,
            allowed_tools=allowed_tools,
            needs_approval=needs_approval,
            prefix=prefix,
            patience=patience,
            timeout=timeout,
            list_seconds=list_seconds,
            retry_seconds=retry_seconds,
        )

    async def _make_headers(self, request: TurnRequest) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._tokens.get()}", **request.platform_headers()}

    def identity(self, request: TurnRequest, headers: Mapping[str, str]) -> str:
        """The user key, because the token is the agent's own and the call id changes with every request."""
        return request.scope.key("toolbox")


def toolbox_url(name: str, version: str | None, project_endpoint: str) -> str:
    """The MCP endpoint of a toolbox.

    Raises:
        ConfigurationError: The project endpoint is missing, or is not https, so that a token would be sent unencrypted.
    """
    try:
        parts = urlsplit(project_endpoint)
        is_usable = bool(parts.hostname) and not parts.query and not parts.fragment
        is_secret = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)
    except ValueError:
        is_usable = is_secret = False
    if not (is_usable and is_secret):
        raise ConfigurationError(
            f"FoundryToolbox({name!r}) needs the project's https endpoint, not {project_endpoint!r}: "
            f"set {ENDPOINT_VARIABLE}, or pass project_endpoint."
        )
    part = f"/versions/{quote(version, safe='')}" if version is not None else ""
    path = f"/toolboxes/{quote(name, safe='')}{part}/mcp?api-version={_API_VERSION}"
    return f"{project_endpoint.rstrip('/')}{path}"


class BearerTokens:
    """Caches the token of a credential and requests a new one shortly before it expires.

    Concurrency: concurrent callers share one request.

    Args:
        credential: The credential; `None` to open a `DefaultAzureCredential` for each token.
        scope: Scope of the token.

    Raises:
        ConfigurationError: The credential is not an async one.
    """

    def __init__(self, credential: AsyncTokenCredential | None, scope: str) -> None:
        if credential is not None and not inspect.iscoroutinefunction(credential.get_token):
            raise ConfigurationError(
                f"FoundryToolbox(credential=...) takes a credential of azure.identity.aio, not {type(credential)!r}."
            )
        self._credential = credential
        self._scope = scope
        self._token: AccessToken | None = None
        self._asking = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that is valid for some minutes.

        Raises:
            Exception: The error of the credential, if there is no valid token left.
        """
        async with self._asking:
            left = self._token.expires_on - time.time() if self._token is not None else 0.0
            if self._token is None or left < EARLY_SECONDS:
                try:
                    self._token = await self._ask()
                except Exception:
                    if self._token is None or left <= 0:
                        raise
            return self._token.token

    async def _ask(self) -> AccessToken:
        if self._credential is not None:
            return await self._credential.get_token(self._scope)
        identity = await asyncio.to_thread(import_module, "azure.identity.aio")
        async with identity.DefaultAzureCredential() as credential:
            return await credential.get_token(self._scope)
