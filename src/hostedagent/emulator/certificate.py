"""The emulator's TLS certificate, issued at its start by an authority that exists in this process only.

The SDK sends tokens only over TLS, so the emulator needs a certificate. Trusting the authority is safe: its key never
leaves the process, which issues only certificates for loopback.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp.connector

from hostedagent.errors import ConfigurationError

if TYPE_CHECKING:
    import trustme

VALID_FOR: Final = timedelta(days=30)

_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files and the TLS context of a server and its clients.

    Attributes:
        ca_file: The authority alone, PEM.
        bundle_file: The authority and the default roots of this process, PEM. `SSL_CERT_FILE` replaces the default, so
            a process that uses this file still reaches other services.
        context: The TLS context of the server.
    """

    ca_file: Path
    bundle_file: Path
    context: ssl.SSLContext


def issue(directory: Path) -> Certificate:
    """Issue a certificate for loopback and write the files into a directory that only this user can read."""
    authority = _authority()
    leaf = authority.issue_cert(*_NAMES, not_after=datetime.now(UTC) + VALID_FOR)
    ca_file, bundle_file, chain_file = directory / "ca.pem", directory / "bundle.pem", directory / "server.pem"
    authority.cert_pem.write_to_path(ca_file)
    bundle_file.write_bytes(authority.cert_pem.bytes() + _default_roots())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.private_key_and_cert_chain_pem.write_to_path(chain_file)
    context.load_cert_chain(chain_file)
    return Certificate(ca_file, bundle_file, context)


@cache
def _authority() -> trustme.CA:
    try:
        import trustme
    except ImportError as error:
        raise ConfigurationError("The emulator needs trustme for its certificate: pip install trustme") from error
    return trustme.CA(organization_name="hostedagent emulator", path_length=0)


def _default_roots() -> bytes:
    cafile = ssl.get_default_verify_paths().cafile
    return b"\n" + Path(cafile).read_bytes() if cafile else b""


def trust_in_process(ca_file: Path) -> None:
    """Let aiohttp sessions of this process accept certificates of an authority, until the process ends.

    aiohttp creates one client context for the process on import; setting `SSL_CERT_FILE` later has no effect, and the
    SDK's storage classes take no transport, so the authority is added to that context.
    """
    # Found by its type, because its name is private.
    contexts = [value for value in vars(aiohttp.connector).values() if isinstance(value, ssl.SSLContext)]
    for context in contexts:
        if context.verify_mode is ssl.CERT_REQUIRED:
            context.load_verify_locations(ca_file)
