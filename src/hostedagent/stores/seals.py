"""Seals data that a caller keeps for the host: encrypted and authenticated with a key of the caller's scope.

The caller can neither read nor change sealed data, and it opens for no other caller. The key is random and kept in the
state store, so that every process that shares the store can open it.
"""

from __future__ import annotations

import binascii
import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Final

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Key, Store, StoreConflict, Write

KEY: Final = "seal-key"

_PREFIX: Final = "hostedagent.1."
"""Prefix of a sealed text, with the version of the format."""

_KEY: Final = Key(KEY, "")
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_BYTES: Final = 64 * 1024 * 1024
"""The largest content, so that a small text cannot become a large one."""


class NotOpened(Exception):
    """A sealed text cannot be opened: it was changed, sealed for another caller, or its key has expired."""


def is_sealed(text: object) -> bool:
    """Whether a text has the format of a seal, unlike one of another service."""
    return isinstance(text, str) and text.startswith(_PREFIX)


class Seals:
    """Seals and opens texts of callers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def seal(self, caller: Caller, content: bytes) -> str:
        """Seal data into a text that only this caller's requests can open.

        Raises:
            StoreError: The key could not be stored.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = await self._renewed_key(caller)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, zlib.compress(content), _PREFIX.encode())
        return _PREFIX + urlsafe_b64encode(nonce + sealed).decode()

    async def open(self, caller: Caller, text: str) -> bytes:
        """Open a sealed text.

        Raises:
            NotOpened: It cannot be opened for this caller.
            StoreError: The key cannot be read.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        (record,) = await self._store.read(caller, [_KEY])
        if record is None or not is_sealed(text):
            raise NotOpened
        try:
            data = urlsafe_b64decode(text[len(_PREFIX) :].encode("ascii"))
            packed = AESGCM(record.value).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _PREFIX.encode())
        except (InvalidTag, binascii.Error, ValueError):
            raise NotOpened from None
        return zlib.decompressobj().decompress(packed, _MAX_BYTES)

    async def _renewed_key(self, caller: Caller) -> bytes:
        """The key, with its lifetime renewed, so that newly sealed data can be opened for the whole retention."""
        (record,) = await self._store.read(caller, [_KEY])
        if record is None:
            with suppress(StoreConflict):  # Another request of the caller created it first.
                key = os.urandom(_KEY_BYTES)
                await self._store.write(caller, [Write(_KEY, key, ABSENT)])
                return key
            (record,) = await self._store.read(caller, [_KEY])
            assert record is not None
        with suppress(StoreConflict):
            await self._store.write(caller, [Write(_KEY, record.value, record.etag)])
        return record.value
