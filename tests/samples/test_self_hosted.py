"""samples/self_hosted without Azure: who gets in, whose things are whose, and what two replicas share."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
import yaml
from agent_framework import Agent

from hostedagent import AgentHost, ConfigurationError, memory_stores, postgres_stores
from hostedagent.errors import Unauthenticated
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.deploy.bicep.syntax import properties_of, read, text_of
from tests.postgres.server import postgres, postgres_dsn, schema
from tests.samples.server import ROOT

TENANT, OTHER_TENANT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
ADA, GRACE = "aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"
DSN = "postgresql://id-agent@psql-agent.postgres.database.azure.com:5432/agents?sslmode=verify-full"
SCHEMA = "http://schemas.microsoft.com/identity/claims"
INFRA = ROOT / "samples/self_hosted/infra"
BICEP = (INFRA / "main.bicep").read_text()


def encoded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def principal(user: str, tenant: str = TENANT, *, claims: Any = None) -> dict[str, str]:
    """The header as Container Apps writes it."""
    given = [
        {"typ": f"{SCHEMA}/tenantid", "val": tenant},
        {"typ": f"{SCHEMA}/objectidentifier", "val": user},
        {"typ": "name", "val": "somebody"},
    ]
    value = {"auth_typ": "aad", "claims": given if claims is None else claims, "name_typ": "name", "role_typ": "roles"}
    return {"x-ms-client-principal": encoded(value)}


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("FOUNDRY_PROJECT_ENDPOINT", "https://account.services.ai.azure.com/api/projects/agents")
    monkeypatch.setenv("AZURE_AI_MODEL_DEPLOYMENT_NAME", "model-1")
    monkeypatch.setenv("EASY_AUTH_TENANT_ID", TENANT)
    monkeypatch.setenv("HOSTEDAGENT_DSN", DSN)
    return importlib.import_module("samples.self_hosted.agent")


def host_of(sample: ModuleType, stores: Any) -> AgentHost:
    return sample.make_host(Agent(OfflineChatClient(), name="offline"), stores, {"EASY_AUTH_TENANT_ID": TENANT})


@asynccontextmanager
async def served(sample: ModuleType) -> AsyncGenerator[InProcessClient]:
    with postgres(pool_size=2) as stores:
        async with serve(host_of(sample, stores).app) as client:
            yield client


def test_it_loads_without_a_network(sample: ModuleType) -> None:
    assert isinstance(sample.host, AgentHost)


def test_without_a_tenant_there_is_no_host(sample: ModuleType) -> None:
    with pytest.raises(ConfigurationError, match="EASY_AUTH_TENANT_ID is not set"):
        sample.make_host(Agent(OfflineChatClient()), memory_stores(), {})


def test_without_a_database_there_is_no_host(sample: ModuleType) -> None:
    with pytest.raises(ConfigurationError, match="HOSTEDAGENT_DSN is not set"):
        sample.open_stores({})


FORGED = {
    "no header": {},
    "an empty header": {"x-ms-client-principal": ""},
    "no base64": {"x-ms-client-principal": "{not base64}"},
    "no JSON": {"x-ms-client-principal": base64.b64encode(b"name=ada").decode()},
    "no object": {"x-ms-client-principal": encoded(["claims"])},
    "no claims": {"x-ms-client-principal": encoded({"auth_typ": "aad"})},
    "claims that are none": principal(ADA, claims=["tid", None, 7]),
    "no tenant": principal(ADA, claims=[{"typ": "oid", "val": ADA}]),
    "no user": principal(ADA, claims=[{"typ": "tid", "val": TENANT}]),
    "an empty user": principal(ADA, claims=[{"typ": "tid", "val": TENANT}, {"typ": "oid", "val": ""}]),
    "a user that is no text": principal(ADA, claims=[{"typ": "tid", "val": TENANT}, {"typ": "oid", "val": 7}]),
    "two users": principal(
        ADA, claims=[{"typ": "tid", "val": TENANT}, {"typ": "oid", "val": ADA}, {"typ": "oid", "val": GRACE}]
    ),
    "another tenant": principal(ADA, OTHER_TENANT),
    "the header twice": {"x-ms-client-principal": ", ".join(2 * [*principal(ADA).values()])},
    "only headers of Foundry": {"x-agent-user-id": ADA},
    "only the id": {"x-ms-client-principal-id": ADA},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_whoever_is_not_known_does_not_get_in(sample: ModuleType, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        sample.EasyAuthScopeResolver(tenant=TENANT)(headers)


@pytest.mark.parametrize("headers", [{}, principal(ADA, OTHER_TENANT)], ids=["nobody", "another tenant"])
async def test_they_get_401_and_no_turn(sample: ModuleType, headers: dict[str, str]) -> None:
    async with served(sample) as client:
        reply = await client.post("/responses", json={"input": "Hello"}, headers=headers)

    assert reply.status == 401
    assert "output" not in reply.json()


async def test_probes_need_no_identity(sample: ModuleType) -> None:
    async with served(sample) as client:
        reply = await client.get("/readiness")

    assert reply.status == 200


def test_short_and_long_names_of_claims_mean_the_same_caller(sample: ModuleType) -> None:
    resolve = sample.EasyAuthScopeResolver(tenant=TENANT)
    short = principal(ADA, claims=[{"typ": "tid", "val": TENANT}, {"typ": "oid", "val": ADA}])

    assert resolve(short) == resolve(principal(ADA)) != resolve(principal(GRACE))


async def test_replicas_share_conversations_and_keep_callers_apart(sample: ModuleType) -> None:
    with schema() as name:
        first, second = (
            host_of(sample, postgres_stores(postgres_dsn(), schema=name, pool_size=2)).app for _ in range(2)
        )
        async with serve(first) as one, serve(second) as other:
            said = await one.post("/responses", json={"input": "My name is Ada."}, headers=principal(ADA))
            assert said.status == 200, said.text
            before = said.json()["id"]
            asked = {"input": "What is my name?", "previous_response_id": before}

            answer = await other.post("/responses", json=asked, headers=principal(ADA))
            found = await other.get(f"/responses/{before}", headers=principal(ADA))
            stranger = await other.post("/responses", json=asked, headers=principal(GRACE))

    assert answer.json()["output"][-1]["content"][0]["text"] == "Your name is Ada."
    assert (found.status, stranger.status) == (200, 404)


def test_the_deployment_sets_what_the_app_reads_and_switches_authentication_on() -> None:
    for name in (
        "EASY_AUTH_TENANT_ID",
        "HOSTEDAGENT_DSN",
        "FOUNDRY_PROJECT_ENDPOINT",
        "AZURE_AI_MODEL_DEPLOYMENT_NAME",
        "AZURE_CLIENT_ID",
    ):
        assert f"name: '{name}'" in BICEP
    authentication = text_of(read(BICEP, "main.bicep").of_kind("resource")["authentication"].node)
    assert "Return401" in authentication and "parent" in authentication
    assert "'samples/self_hosted/agent.py'" in BICEP


def test_the_database_has_no_passwords_and_no_public_address() -> None:
    server = read((INFRA / "database.bicep").read_text(), "database.bicep").of_kind("resource")["server"]
    properties = properties_of(server.properties["properties"])
    authentication, network = properties_of(properties["authConfig"]), properties_of(properties["network"])
    assert text_of(authentication["passwordAuth"]) == "'Disabled'"
    assert text_of(authentication["activeDirectoryAuth"]) == "'Enabled'"
    assert text_of(network["publicNetworkAccess"]) == "'Disabled'"
    assert {"delegatedSubnetResourceId", "privateDnsZoneArmResourceId"} <= set(network)


def test_compose_runs_three_replicas_behind_a_proxy_that_repeats_no_request() -> None:
    services = yaml.safe_load((ROOT / "samples/self_hosted/compose.yaml").read_text())["services"]
    assert services["agent"]["deploy"]["replicas"] == 3
    assert services["agent"]["command"] == ["python", "-m", "samples.self_hosted.replica"]
    assert services["migrate"]["command"] == ["hostedagent", "migrate"]
    assert services["migrate"]["environment"]["HOSTEDAGENT_DSN"].endswith("@database:5432/agent")
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    proxy = (ROOT / "samples/self_hosted/nginx.conf").read_text()
    assert "proxy_next_upstream error;" in proxy and "proxy_buffering off;" in proxy and "agent:8088" in proxy


async def test_two_replicas_of_compose_continue_each_other() -> None:
    from samples.hello.agent import agent

    with schema() as name:
        one, two = (
            AgentHost(agent, stores=postgres_stores(postgres_dsn(), schema=name, pool_size=2), driver="starlette")
            for _ in range(2)
        )
        async with serve(one.app) as first, serve(two.app) as second:
            told = await first.post("/responses", json={"input": "My name is Ada."})
            asked = {"input": "What is my name?", "previous_response_id": told.json()["id"]}
            answer = await second.post("/responses", json=asked)
    assert "Ada" in answer.json()["output"][0]["content"][0]["text"]
