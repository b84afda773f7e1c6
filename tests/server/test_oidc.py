"""Whose request it is by a JWT: what a token must have, and what happens when the issuer changes its keys."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from hostedagent import AgentHost, ConfigurationError, OidcScopeResolver
from hostedagent.errors import Unauthenticated
from hostedagent.server import oidc
from hostedagent.testing import ScriptedAgent, serve

ISSUER = "https://issuer.example/tenant/v2.0"
AUDIENCE = "api://agent"
KEY = generate_private_key(65537, 2048)
OTHER_KEY = generate_private_key(65537, 2048)


class Immediately:
    """A thread that has run when it has been started."""

    started = 0

    def __init__(self, *, target: Any, **_: Any) -> None:
        self._target = target

    def start(self) -> None:
        type(self).started += 1
        self._target()


class Issuer:
    """Answers discovery, and signs tokens."""

    def __init__(self) -> None:
        self.name = ISSUER
        self.keys: dict[str, RSAPrivateKey] = {"one": KEY}
        self.others: list[Any] = []
        self.is_away = False

    def fetch(self, url: str) -> bytes:
        if self.is_away:
            raise OSError("no route to host")
        if url == ISSUER + "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.name, "jwks_uri": "https://issuer.example/keys"}).encode()
        assert url == "https://issuer.example/keys"
        rows = [{**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid} for kid, key in self.keys.items()]
        return json.dumps({"keys": [*rows, *self.others]}).encode()

    def token(
        self, *, kid: str = "one", key: RSAPrivateKey | None = None, algorithm: str = "RS256", **claims: Any
    ) -> str:
        now = int(time.time())
        content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, **claims}
        signed = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(signed, key or self.keys[kid], algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def resolver(issuer: Issuer) -> OidcScopeResolver:
    return OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_the_user_of_a_valid_token_has_a_scope_of_its_issuer(issuer: Issuer, resolver: OidcScopeResolver) -> None:
    keys, scope = resolver(bearer(issuer.token()))
    assert keys.user == "ann"
    assert resolver(bearer(issuer.token())) == (keys, scope)
    assert resolver(bearer(issuer.token(sub="bob")))[1] != scope


def test_one_of_several_audiences_is_enough(issuer: Issuer) -> None:
    resolver = OidcScopeResolver(issuer=ISSUER, audience=("x", AUDIENCE), user_claim="oid", fetch=issuer.fetch)
    assert resolver(bearer(issuer.token(oid="0-0-1")))[0].user == "0-0-1"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://issuer.example/other"},
        {"aud": "api://other"},
        {"aud": None},
        {"iss": None},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"exp": 1},
        {"nbf": 2**40},
        {"key": OTHER_KEY},
    ],
    ids=["iss", "aud", "no aud", "no iss", "no exp", "no sub", "empty sub", "expired", "early", "other key"],
)
def test_a_token_that_is_not_for_here_and_now_is_refused(
    issuer: Issuer, resolver: OidcScopeResolver, claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        resolver(bearer(issuer.token(**claims)))


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer x, Bearer y"])
def test_a_request_without_a_readable_token_is_refused(resolver: OidcScopeResolver, value: str | None) -> None:
    with pytest.raises(Unauthenticated):
        resolver({"authorization": value} if value is not None else {})


def test_unsigned_tokens_and_tokens_signed_with_the_public_key_are_refused(
    issuer: Issuer, resolver: OidcScopeResolver
) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 600}
    for token in (
        jwt.encode(claims, "", algorithm="none", headers={"kid": "one"}),
        jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "one"}),
    ):
        with pytest.raises(Unauthenticated):
            resolver(bearer(token))


def test_clocks_may_differ_by_the_leeway(issuer: Issuer, resolver: OidcScopeResolver) -> None:
    assert resolver(bearer(issuer.token(exp=int(time.time()) - 30)))[0].user == "ann"
    assert resolver(bearer(issuer.token(nbf=int(time.time()) + 30)))[0].user == "ann"


def test_clocks_must_not_differ_by_more(issuer: Issuer, resolver: OidcScopeResolver) -> None:
    now = int(time.time())
    strict = OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, leeway=0, fetch=issuer.fetch)
    late: list[dict[str, Any]] = [{"exp": now - 600}, {"nbf": now + 600}, {"iat": now + 600}]
    for claims in late:
        with pytest.raises(Unauthenticated):
            resolver(bearer(issuer.token(**claims)))
    with pytest.raises(Unauthenticated):
        strict(bearer(issuer.token(exp=now - 1)))


def test_the_token_that_was_verified_is_the_one_that_tools_may_exchange(
    issuer: Issuer, resolver: OidcScopeResolver
) -> None:
    token = issuer.token()
    assert resolver.token(bearer(token)) == token
    assert resolver.token({}) is None and resolver.token({"authorization": "Basic YTpi"}) is None


def test_a_key_that_is_new_is_fetched_and_one_that_is_withdrawn_is_no_longer_good(
    issuer: Issuer, resolver: OidcScopeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer.token()
    issuer.keys = {"two": OTHER_KEY}
    monkeypatch.setattr(oidc, "RETRY_SECONDS", -1.0)
    monkeypatch.setattr(oidc.threading, "Thread", Immediately)
    with pytest.raises(Unauthenticated):
        resolver(bearer(issuer.token(kid="two")))
    assert resolver(bearer(issuer.token(kid="two")))[0].user == "ann"
    with pytest.raises(Unauthenticated):
        resolver(bearer(old))


def test_tokens_of_unknown_keys_do_not_make_the_host_ask_the_issuer_each_time(
    issuer: Issuer, resolver: OidcScopeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc.threading, "Thread", Immediately)
    monkeypatch.setattr(Immediately, "started", 0)
    issuer.is_away = True
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            resolver(bearer(issuer.token(kid="made-up", key=OTHER_KEY)))
    assert Immediately.started == 0


def test_an_issuer_that_is_away_later_leaves_the_known_keys(issuer: Issuer, resolver: OidcScopeResolver) -> None:
    issuer.is_away = True
    resolver.refresh()
    assert resolver(bearer(issuer.token()))[0].user == "ann"


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "two"},
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA", "kid": "two"},
        {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "alg": "RSA-OAEP", "kid": "two"},
        {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "alg": "none", "kid": "two"},
        {"kty": "RSA", "kid": "two"},
        "two",
    ],
)
def test_keys_that_cannot_be_used_leave_the_others_of_the_issuer(
    issuer: Issuer, resolver: OidcScopeResolver, other: Any
) -> None:
    issuer.others = [other]
    issuer.keys = {"new": KEY}
    resolver.refresh()
    for found in (resolver, OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)):
        assert found(bearer(issuer.token(kid="new")))[0].user == "ann"


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384"])
def test_a_key_that_names_no_algorithm_is_good_for_each_of_its_kind(issuer: Issuer, algorithm: str) -> None:
    resolver = OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)
    assert resolver(bearer(issuer.token(algorithm=algorithm)))[0].user == "ann"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "HS256", "none"])
def test_a_token_with_an_algorithm_of_another_kind_of_key_is_refused(issuer: Issuer, algorithm: str) -> None:
    resolver = OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)
    _, content, signature = issuer.token().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "one"}).encode()).decode().rstrip("=")
    with pytest.raises(Unauthenticated):
        resolver(bearer(f"{header}.{content}.{signature}"))


def test_an_issuer_that_cannot_be_asked_or_names_another_is_refused_at_the_start(issuer: Issuer) -> None:
    issuer.name = "https://somebody.example"
    with pytest.raises(ConfigurationError, match="somebody"):
        OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)
    issuer.is_away = True
    with pytest.raises(ConfigurationError, match="cannot be fetched"):
        OidcScopeResolver(issuer=ISSUER, audience=AUDIENCE, fetch=issuer.fetch)


def test_keys_come_over_https_only() -> None:
    with pytest.raises(ConfigurationError, match="https"):
        OidcScopeResolver(issuer="http://issuer.example", audience=AUDIENCE)
    with pytest.raises(ConfigurationError, match="https"):
        OidcScopeResolver(issuer="file:///etc", audience=AUDIENCE)


async def test_a_host_serves_each_token_its_own_responses(issuer: Issuer, resolver: OidcScopeResolver) -> None:
    agent = ScriptedAgent("hello")
    async with serve(AgentHost(agent, resolve_scope=resolver).app) as client:
        refused = await client.post("/responses", json={"input": "hi"})
        ann = await client.post("/responses", json={"input": "hi"}, headers=bearer(issuer.token()))
        path = f"/responses/{ann.json()['id']}"
        own = await client.get(path, headers=bearer(issuer.token()))
        other = await client.get(path, headers=bearer(issuer.token(sub="bob")))
    assert (refused.status, ann.status, own.status, other.status) == (401, 200, 200, 404)
