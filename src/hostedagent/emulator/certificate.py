"""The certificate of the emulator, made when it starts: an authority of this process, good for loopback names only.

The SDK sends tokens over TLS alone, so the emulator cannot do without. Whoever trusts the authority trusts nothing else
by that: its key never leaves the process, and its name constraints bind it to `localhost`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = timedelta(days=30)

_LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server and its clients need.

    Attributes:
        ca_file: The authority alone, PEM.
        bundle_file: The authority and what this process trusts by default, PEM: for `SSL_CERT_FILE`, which replaces the
            default, so that a process with it still reaches other services.
        context: The TLS context of the server.
    """

    ca_file: Path
    bundle_file: Path
    context: ssl.SSLContext


def issue(directory: Path) -> Certificate:
    """Issue a certificate for loopback and write the files into a directory that only this user can read."""
    authority, authority_key = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *(x509.IPAddress(ip) for ip in _LOOPBACK)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    leaf = (
        _builder("localhost", authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    ca_pem = authority.public_bytes(Encoding.PEM)
    ca_file, bundle_file, chain_file = directory / "ca.pem", directory / "bundle.pem", directory / "server.pem"
    ca_file.write_bytes(ca_pem)
    bundle_file.write_bytes(ca_pem + _default_roots())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain_file.write_bytes(key_pem + leaf.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_file)
    return Certificate(ca_file, bundle_file, context)


@cache
def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"hostedagent emulator {uuid4().hex[:12]}"
    networks = [x509.IPAddress(ip_network(f"{ip}/{ip.max_prefixlen}")) for ip in _LOOPBACK]
    allowed = x509.NameConstraints([x509.DNSName("localhost"), *networks], excluded_subtrees=None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority = (
        _builder(name, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(allowed, critical=True)
        .sign(key, SHA256())
    )
    return authority, key


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _default_roots() -> bytes:
    cafile = ssl.get_default_verify_paths().cafile
    return b"\n" + Path(cafile).read_bytes() if cafile else b""
