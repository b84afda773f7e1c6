"""Making this process trust the emulator.

aiohttp, which the SDK's storage classes use, has one client context for the process and makes it on import; by then
`SSL_CERT_FILE` has been read and setting it has no effect any more. There is no public way to give the storage classes
a context of their own (`FoundryStorageProvider` takes no transport), so the authority is added to that context.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp.connector


def trust_in_process(ca_file: Path) -> None:
    """Let aiohttp sessions of this process accept certificates of an authority, until the process ends."""
    # Found by what it is, because its name is private.
    contexts = [value for value in vars(aiohttp.connector).values() if isinstance(value, ssl.SSLContext)]
    for context in contexts:
        if context.verify_mode is ssl.CERT_REQUIRED:
            context.load_verify_locations(ca_file)
