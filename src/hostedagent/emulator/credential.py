"""The credential for the emulator: any token will do, but there must be one."""

from __future__ import annotations

import time
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

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Give out a token for any scope."""
        return AccessToken(TOKEN, int(time.time()) + LIFETIME_SECONDS)

    async def close(self) -> None:
        """Close the credential; it holds nothing."""
        self.closed = True

    async def __aenter__(self) -> EmulatorCredential:
        return self

    async def __aexit__(self, *_: object, **__: object) -> None:
        await self.close()
