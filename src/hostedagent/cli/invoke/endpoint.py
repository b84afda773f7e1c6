"""The address of an agent, and the credentials to call it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hostedagent.cli.group import CommandError, CommandLineError
from hostedagent.platform import DATA_SCOPE, ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

LOCAL: Final = "http://127.0.0.1:8088"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An agent's address.

    Args:
        url: The URL of its `responses` route.
        is_deployed: Whether it runs on Foundry, which needs a token and keeps a sandbox session.
    """

    url: str
    is_deployed: bool = False


def find(url: str | None, agent: str | None, project: str | None) -> Endpoint:
    """The endpoint that the options name."""
    if agent is None:
        if project is not None:
            raise CommandLineError("--project needs --agent, the name of the deployed agent.")
        return Endpoint(_responses(url or LOCAL))
    if url is not None:
        raise CommandLineError("--url and --agent each say where the agent is: leave one of them out.")
    project = project or os.environ.get(ENDPOINT_VARIABLE)
    if not project:
        raise CommandLineError(f"--agent needs its Foundry project: --project, or {ENDPOINT_VARIABLE}.")
    if urlsplit(project).scheme != "https":
        raise CommandLineError(f"{project!r} is not a project endpoint: it must begin with https://.")
    path = f"{project.rstrip('/')}/agents/{agent}/endpoint/protocols/openai/responses"
    return Endpoint(f"{path}?api-version=v1", is_deployed=True)


def _responses(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise CommandLineError(f"{url!r} is not an address: it must begin with http:// or https://.")
    base = url.rstrip("/")
    return base if urlsplit(base).path.endswith("/responses") else f"{base}/responses"


def default_credential() -> AsyncTokenCredential:
    """The credentials of azd, of az, or of the machine."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


@asynccontextmanager
async def authorization(endpoint: Endpoint) -> AsyncGenerator[Mapping[str, str]]:
    """The authorization headers; empty for an agent on this machine."""
    if not endpoint.is_deployed:
        yield {}
        return
    from azure.core.exceptions import ClientAuthenticationError

    async with default_credential() as signed_in:
        try:
            token = await signed_in.get_token(DATA_SCOPE)
        except ClientAuthenticationError as error:
            raise CommandError("There are no Azure credentials. Sign in with: azd auth login") from error
        yield {"authorization": f"Bearer {token.token}"}
