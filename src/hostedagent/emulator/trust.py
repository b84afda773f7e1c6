"""Makes this process trust the emulator's certificate.

aiohttp, which the SDK's storage classes use, creates one client context for the process on import; setting
`SSL_CERT_FILE` later has no effect. There is no public way to pass a context to the storage classes
(`FoundryStorageProvider` takes no transport), so the authority is added to that context.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp.connector


def trust_in_process(ca_file: Path) -> None:
    """Let aiohttp sessions of this process accept certificates of an authority, until the process ends."""
    # Found by its type, because its name is private.
    contexts = [value for value in vars(aiohttp.connector).values() if isinstance(value, ssl.SSLContext)]
    for context in contexts:
        if context.verify_mode is ssl.CERT_REQUIRED:
            context.load_verify_locations(ca_file)
