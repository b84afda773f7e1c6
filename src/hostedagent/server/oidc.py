"""Identity for self-hosting: validates the bearer token of a request against an OpenID Connect issuer.

Needs the extra `oidc`. Signing keys are fetched at the start, again every few minutes in a thread, and when a token
names a key that is not known yet.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from hostedagent.errors import ConfigurationError, Unauthenticated
from hostedagent.identity import IsolationKeys, Scope
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.values import objects_of

logger = logging.getLogger(__name__)

Fetch = Callable[[str], bytes]

_Key = tuple[Any, Sequence[str]]
"""A key of PyJWT, and the algorithms that it is good for."""

KEYS_SECONDS: Final = 300.0
"""Seconds between fetches of the signing keys."""

RETRY_SECONDS: Final = 10.0
"""Minimum seconds between fetches for unknown keys."""

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Accepted signature algorithms: those with asymmetric keys."""

_RSA: Final = ALGORITHMS[:6]

_DISCOVERY: Final = "/.well-known/openid-configuration"
_TIMEOUT: Final = 5.0
_MAX_BYTES: Final = 1_000_000
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class OidcScopeResolver:
    """Takes the user from the bearer token of the `Authorization` header, a JWT of one OpenID Connect issuer.

    Checks the signature, `iss`, `aud`, `exp` and `nbf`. Needs the extra `oidc`. Fetches the issuer's keys when created.

    Example:
        ```python
        resolver = OidcScopeResolver(issuer="https://login.microsoftonline.com/<tenant>/v2.0", audience="<client id>")
        AgentHost(agent, resolve_scope=resolver)
        ```

    Args:
        issuer: The issuer, exactly as tokens name it in `iss`.
        audience: The required audience: one value, or several of which one must match.
        user_claim: The claim with the id of the user, which must never be reused; with Microsoft Entra also `oid`.
        leeway: Seconds by which the clocks of issuer and host may differ.
        fetch: Returns the content of a URL; by default an HTTPS request.

    Raises:
        ConfigurationError: The issuer's keys cannot be fetched, or the extra is not installed.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | tuple[str, ...],
        user_claim: str = "sub",
        leeway: float = 60.0,
        fetch: Fetch | None = None,
    ) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ConfigurationError("OpenID Connect needs more packages: pip install 'PyJWT[crypto]'") from error
        self._jwt = jwt
        self._issuer = issuer
        self._audience = [audience] if isinstance(audience, str) else list(audience)
        self._user_claim = user_claim
        self._leeway = leeway
        self._fetch = fetch or _fetched
        self._lock = threading.Lock()
        self._tried_at = time.monotonic()
        try:
            self._keys = self._fetch_keys()
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(f"The keys of the issuer {issuer!r} cannot be fetched: {error}") from error

    def __call__(self, headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        """Resolve the caller.

        Raises:
            Unauthenticated: There is no token, or it is not valid.
        """
        token = self.token(headers)
        if token is None:
            raise Unauthenticated("The request carries no bearer token (Authorization).")
        claims = self._claims(token)
        user = claims.get(self._user_claim)
        if not isinstance(user, str) or not user:
            raise Unauthenticated(f"The token has no claim {self._user_claim!r}.")
        # As JSON, so that no two pairs of issuer and user give the same key.
        return IsolationKeys(user), Scope("oidc:" + json.dumps([self._issuer, user]))

    def token(self, headers: Mapping[str, str]) -> str | None:
        """The bearer token of a request."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        return (token.strip() or None) if kind.lower() == "bearer" else None

    def refresh(self) -> None:
        """Fetch the keys now. If that fails, the known keys are kept."""
        try:
            self._keys = self._fetch_keys()
        except Exception as error:  # noqa: BLE001 - tried again with the next request
            log_failure(logger, "Fetching the issuer's keys failed", error)

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            key, algorithms = self._key(self._jwt.get_unverified_header(token))
            return self._jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except self._jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except self._jwt.PyJWTError as error:
            raise Unauthenticated("The token is not valid here.") from error

    def _key(self, header: Mapping[str, Any]) -> _Key:
        known, key_id = self._keys, header.get("kid")
        key = known.get(key_id) if isinstance(key_id, str) else None
        if key is None and key_id is None and len(known) == 1:
            key = next(iter(known.values()))
        age = time.monotonic() - self._tried_at
        if age > KEYS_SECONDS or (key is None and age > RETRY_SECONDS):
            self._refresh_soon()
        if key is None:
            raise Unauthenticated("The token is signed with an unknown key. Try again in some seconds.")
        return key

    def _refresh_soon(self) -> None:
        """Fetch the keys in a thread: a resolver must not block."""
        with self._lock:
            if time.monotonic() - self._tried_at <= RETRY_SECONDS:
                return
            self._tried_at = time.monotonic()
        threading.Thread(target=self.refresh, name="hostedagent-oidc", daemon=True).start()

    def _fetch_keys(self) -> Mapping[str, _Key]:
        document = _object(self._fetch(self._issuer.rstrip("/") + _DISCOVERY))
        if document.get("issuer") != self._issuer:
            raise ValueError(f"its configuration names the issuer {document.get('issuer')!r:.200}")
        found: dict[str, _Key] = {}
        for row in objects_of(_object(self._fetch(str(document["jwks_uri"])))["keys"]):
            if row.get("use", "sig") == "sig" and row.get("kty") in ("RSA", "EC", "OKP"):
                # Keys of other kinds and for other uses are ignored (RFC 7517, section 5).
                with suppress(self._jwt.PyJWTError, NotImplementedError, TypeError, ValueError):
                    found[str(row.get("kid") or "")] = self._read(row)
        if not found:
            raise ValueError("it has no signing keys")
        return found

    def _read(self, row: Mapping[str, Any]) -> _Key:
        key = self._jwt.PyJWK(dict(row))
        # PyJWT takes RS256 for an RSA key that names no algorithm, but such a key is good for all of them.
        return (key.key, _RSA) if row["kty"] == "RSA" and "alg" not in row else (key, ALGORITHMS)


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("its response is not a JSON object")
    return cast("dict[str, Any]", value)


def _fetched(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{url!r:.200} is not an https URL")
    with urlopen(Request(url, headers={"accept": "application/json"}), timeout=_TIMEOUT) as answer:
        data: bytes = answer.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{url!r:.200} is larger than {_MAX_BYTES} bytes")
    return data
