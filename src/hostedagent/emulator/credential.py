"""The credential for the emulator: any token will do, but there must be one."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from azure.core.credentials import AccessToken

TOKEN = "emulator-token"
LIFETIME_SECONDS = 3600


class EmulatorCredential:
    """An asynchronous token credential without an identity, for the SDK's storage classes.

    Attributes:
        closed: Whether `close` was called, for tests of who owns a credential.
    """

    def __init__(self) -> None:
        self.closed = False

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """Give out a token for any scope."""
        return AccessToken(TOKEN, int(time.time()) + LIFETIME_SECONDS)

    async def close(self) -> None:
        """Close the credential; it holds nothing."""
        self.closed = True

    async def __aenter__(self) -> EmulatorCredential:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
