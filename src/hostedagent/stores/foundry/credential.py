"""The host's own credential, if the application passes none."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from azure.identity.aio import DefaultAzureCredential

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken


class OwnCredential:
    """A `DefaultAzureCredential` that is created on first use, and again after it was closed.

    A closed credential cannot be reused and keeps its tokens, which would be wrong after a memory snapshot.
    """

    def __init__(self) -> None:
        self._opened: DefaultAzureCredential | None = None

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """A token for these scopes; raises `ClientAuthenticationError` when there is none."""
        if self._opened is None:
            self._opened = DefaultAzureCredential()
        return await self._opened.get_token(
            *scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **options
        )

    async def close(self) -> None:
        """Close its connections, and drop its tokens."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
