"""Tokens in the name of the caller, exchanged at an issuer that answers over TLS on this machine."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from agent_framework import Agent, Content, tool
from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport

from hostedagent import AgentHost, ConfigurationError, HeaderScopeResolver, HostError, OnBehalfOf
from hostedagent.emulator.certificate import issue
from hostedagent.identity import Caller, IsolationKeys, RequestContext, Scope, enter_context, leave_context
from hostedagent.testing import OfflineChatClient, serve

TENANT: Final = "11111111-1111-1111-1111-111111111111"
GRAPH: Final = "https://graph.microsoft.com/Mail.Read"
EASY_AUTH: Final = HeaderScopeResolver(header="x-ms-client-principal-id", token_header="X-MS-TOKEN-AAD-ACCESS-TOKEN")


class Issuer:
    """Exchanges tokens and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str]] = []
        self.refuses = False
        self.seconds = 3600
        self.authority = ""

    async def exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        assert request.match_info["tenant"] == TENANT
        if self.refuses:
            refusal = {"error": "invalid_grant", "error_description": "AADSTS65001: nobody has consented."}
            return web.json_response(refusal, status=400)
        token = f"graph-secret-of-{form['assertion']}"
        return web.json_response({"token_type": "Bearer", "expires_in": self.seconds, "access_token": token})


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncGenerator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_post("/{tenant}/oauth2/v2.0/token", issuer.exchange)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=issue(tmp_path).context).start()
    issuer.authority = f"https://localhost:{runner.addresses[0][1]}"
    yield issuer
    await runner.cleanup()


@pytest.fixture
async def exchange(issuer: Issuer, tmp_path: Path) -> AsyncGenerator[OnBehalfOf]:
    transport = AioHttpTransport(connection_verify=str(tmp_path / "ca.pem"))
    async with OnBehalfOf(
        tenant_id=TENANT,
        client_id="agent",
        client_secret="client-secret",
        authority=issuer.authority,
        transport=transport,
        retry_total=0,
    ) as exchange:
        yield exchange


@asynccontextmanager
async def calling(user: str, token: str | None) -> AsyncGenerator[None]:
    mark = enter_context(RequestContext(Caller(Scope(user), IsolationKeys(user), token=token)))
    try:
        yield
    finally:
        leave_context(mark)


async def test_the_token_of_the_caller_is_exchanged_once_and_kept(issuer: Issuer, exchange: OnBehalfOf) -> None:
    async with calling("ann", "ann-1"):
        assert [await exchange.token(GRAPH) for _ in range(3)] == ["graph-secret-of-ann-1"] * 3
        assert (await exchange.credential().get_token(GRAPH)).token == "graph-secret-of-ann-1"
    (asked,) = issuer.asked
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (asked["requested_token_use"], asked["scope"]) == ("on_behalf_of", GRAPH)
    assert (asked["client_id"], asked["client_secret"], asked["assertion"]) == ("agent", "client-secret", "ann-1")


async def test_no_caller_gets_the_token_of_another(issuer: Issuer, exchange: OnBehalfOf) -> None:
    for user, token in (("ann", "ann-1"), ("bob", "bob-1"), ("ann", "ann-2"), ("ann", "ann-1")):
        async with calling(user, token):
            assert await exchange.token(GRAPH) == f"graph-secret-of-{token}"
    assert Counter(asked["assertion"] for asked in issuer.asked) == {"ann-1": 1, "bob-1": 1, "ann-2": 1}


async def test_a_token_that_ends_soon_is_requested_again(issuer: Issuer, exchange: OnBehalfOf) -> None:
    issuer.seconds = 0
    async with calling("ann", "ann-1"):
        await exchange.token(GRAPH)
        await exchange.token(GRAPH)
    assert len(issuer.asked) == 2


async def test_only_the_newest_callers_are_kept(
    issuer: Issuer, exchange: OnBehalfOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostedagent.server.on_behalf_of.MAX_CALLERS", 2)
    for token in ("1", "2", "3", "2", "1"):
        async with calling("ann", token):
            assert await exchange.token(GRAPH) == f"graph-secret-of-{token}"
    assert [asked["assertion"] for asked in issuer.asked] == ["1", "2", "3", "1"]


async def test_without_a_token_of_the_caller_there_is_none(issuer: Issuer, exchange: OnBehalfOf) -> None:
    with pytest.raises(HostError, match="no token of the caller"):
        await exchange.token(GRAPH)
    async with calling("ann", None):
        with pytest.raises(HostError, match="no token of the caller"):
            exchange.credential()
    assert issuer.asked == []


async def test_no_token_or_secret_is_logged_or_in_an_error(
    issuer: Issuer, exchange: OnBehalfOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with calling("ann", "ann-secret"):
        await exchange.token(GRAPH)
    issuer.refuses = True
    async with calling("bob", "bob-secret"):
        with pytest.raises(HostError, match="the issuer refused") as refused:
            await exchange.token(GRAPH)
    caller = Caller(token="ann-secret")
    assert "secret" not in f"{refused.value} {caller!r} {exchange!r}" + caplog.text
    assert "AADSTS" not in str(refused.value)


@pytest.mark.parametrize("options", [{}, {"client_secret": "a", "client_assertion_func": lambda: "b"}])
def test_it_takes_exactly_one_secret(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="exactly one of client_secret"):
        OnBehalfOf(tenant_id=TENANT, client_id="agent", **options)


@pytest.mark.parametrize("driver", ["starlette", "agentserver"])
async def test_a_tool_acts_for_the_caller_of_its_turn(issuer: Issuer, exchange: OnBehalfOf, driver: Any) -> None:
    @tool
    async def list_mail() -> str:
        """List mail."""
        return await exchange.token(GRAPH)

    def answer(messages: Any, _: Any) -> list[Any]:
        if messages[-1].role != "tool":
            return [Content.from_function_call("c1", "list_mail", arguments="{}")]
        return [messages[-1].contents[0].result]

    agent = Agent(OfflineChatClient(script=[answer] * 8), tools=[list_mail])
    async with serve(AgentHost(agent, resolve_scope=EASY_AUTH, driver=driver).app) as client:
        for user in ("ann", "bob"):
            headers = {"x-ms-client-principal-id": user, "x-ms-token-aad-access-token": f"{user}-1"}
            reply = await client.post("/responses", json={"input": "mail?"}, headers=headers)
            assert reply.json()["output"][-1]["content"][0]["text"] == f"graph-secret-of-{user}-1"
