"""Which stores a host uses: in memory, in a folder, or on Foundry. One value, chosen once."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Scope
from hostedagent.platform import ENDPOINT_VARIABLE, is_hosted
from hostedagent.stores.base import DEFAULT_TTL, StateStore
from hostedagent.stores.documents import DocumentResponses, MemoryDocuments
from hostedagent.stores.leases import Terms
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.stores.retry import Patience

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import ResponseProviderProtocol
    from azure.core.credentials_async import AsyncTokenCredential


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where a host keeps things.

    Args:
        responses: The provider that holds a scope's responses.
        state: Sessions, approvals and leases.
        terms: How turns hold conversations.
        aclose: Called once, when the host stops.
    """

    responses: Callable[[Scope], ResponseProviderProtocol]
    state: StateStore
    terms: Terms = field(default_factory=Terms)
    aclose: Callable[[], Awaitable[None]] = _nothing


def default_stores(retention: float = DEFAULT_TTL) -> Stores:
    """Foundry when hosted, else memory."""
    return foundry_stores(retention=retention) if is_hosted() else memory_stores(retention=retention)


def memory_stores(*, retention: float = DEFAULT_TTL) -> Stores:
    """Everything ends with the process."""
    return Stores(responses=DocumentResponses(MemoryDocuments()), state=MemoryStateStore(ttl=retention))


def file_stores(root: str | os.PathLike[str], *, retention: float = DEFAULT_TTL) -> Stores:
    """Everything is kept below a folder of this machine, for one process at a time.

    Args:
        root: The folder; made for the user only.
        retention: Seconds that responses and state live after their last change.
    """
    from hostedagent.stores.file import FileStateStore
    from hostedagent.stores.file_documents import FileDocuments
    from hostedagent.stores.file_owners import FileOwners

    documents = FileDocuments(Path(root) / "responses", retention=retention)
    state = FileStateStore(Path(root) / "state", ttl=retention)

    owners = FileOwners(Path(root) / "owners")

    async def aclose() -> None:
        await documents.aclose()
        await state.aclose()
        owners.close()

    return Stores(responses=DocumentResponses(documents), state=state, terms=Terms(owners=owners), aclose=aclose)


def foundry_stores(
    *,
    endpoint: str | None = None,
    credential: AsyncTokenCredential | None = None,
    retention: float = DEFAULT_TTL,
    patience: Patience | None = None,
) -> Stores:
    """Everything is kept in the Foundry project.

    Args:
        endpoint: The project's endpoint; by default `FOUNDRY_PROJECT_ENDPOINT`.
        credential: Closed by its owner; by default a `DefaultAzureCredential` of the host's own.
        retention: Seconds that state lives after its last change.
        patience: How long a call of the service is given.

    Raises:
        ConfigurationError: There is no endpoint.
    """
    from azure.ai.agentserver.responses import FoundryStorageProvider, FoundryStorageSettings

    from hostedagent.stores.foundry import FoundryState
    from hostedagent.stores.guarded import GuardedResponses
    from hostedagent.stores.partitioned import PartitionedResponses, StateDocuments

    endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE)
    if not endpoint:
        raise ConfigurationError(f"Storage on Foundry needs the project's endpoint: set {ENDPOINT_VARIABLE}.")
    own = None
    if credential is None:
        from azure.identity.aio import DefaultAzureCredential

        credential = own = DefaultAzureCredential()
    provider = FoundryStorageProvider(credential, FoundryStorageSettings.from_endpoint(endpoint))
    given = patience or Patience()
    state = FoundryState(
        endpoint=endpoint,
        credential=credential,
        ttl=retention,
        timeout=given.timeout,
        tries=given.tries,
        pause=given.pause,
    )
    guarded = GuardedResponses(provider, patience=given)

    async def aclose() -> None:
        await state.aclose()
        await provider.aclose()
        if own is not None:
            await own.close()

    documents = DocumentResponses(StateDocuments(state))

    def responses(scope: Scope) -> ResponseProviderProtocol:
        return PartitionedResponses(scope, guarded, documents(scope))

    return Stores(responses=responses, state=state, aclose=aclose)
