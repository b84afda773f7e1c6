import asyncio
import json
import os
import ssl
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from azure.ai.agentserver.core.storage import FoundryStateStore
from azure.ai.agentserver.responses import (
    FoundryApiError,
    FoundryStorageProvider,
    FoundryStorageSettings,
    PlatformContext,
)
from azure.core.exceptions import ServiceRequestError

import hostedagent.emulator
from hostedagent.emulator import Emulator, LoggedRequest, call_id_for, user_of
from hostedagent.testing.plugin import StartEmulator

from .conftest import of, provider_of
from .wire import response


async def ask(emulator: Emulator, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
    """A request as no SDK class makes it."""
    context = ssl.create_default_context(cafile=emulator.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.request(method, emulator.endpoint + path, **options) as answer:
            return answer.status, await answer.json()


async def test_the_sdk_refuses_an_endpoint_without_tls(emulator: Emulator) -> None:
    plain = FoundryStorageSettings.from_endpoint(emulator.endpoint.replace("https", "http"))
    async with FoundryStorageProvider(emulator.credential, plain) as provider:
        with pytest.raises(ServiceRequestError, match="non-TLS"):
            # A POST, because the SDK tries a GET again for seconds.
            await provider.create_response(response("r1"), [], [], context=of("alice"))


async def test_a_client_that_does_not_trust_the_authority_gets_nowhere(emulator: Emulator) -> None:
    context = ssl.create_default_context(cadata=trustme.CA().cert_pem.bytes().decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(emulator.endpoint)
    assert len(emulator.log) == 0


async def test_strict_clients_accept_the_certificate(emulator: Emulator) -> None:
    context = ssl.create_default_context(cafile=emulator.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1"):
        port = int(emulator.endpoint.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        writer.close()


async def test_a_request_without_a_token_is_refused(emulator: Emulator) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}):
        status, body = await ask(emulator, "/storage/responses/r1?api-version=v1", headers=headers)
        assert (status, body["error"]["code"]) == (401, "unauthorized")


async def test_another_version_of_the_api_is_refused(emulator: Emulator) -> None:
    headers = {"Authorization": "Bearer t"}
    for query in ("", "?api-version=v2"):
        status, body = await ask(emulator, f"/storage/responses/r1{query}", headers=headers)
        assert (status, body["error"]["param"]) == (400, "api-version")


async def test_an_unknown_route_is_not_found_and_noted(emulator: Emulator) -> None:
    status, body = await ask(emulator, "/storage/nothing", headers={"Authorization": "Bearer t"})
    assert (status, body["error"]["code"]) == (404, "not_found")
    status, _ = await ask(emulator, "/storage/responses?api-version=v1", method="PUT")
    assert status == 404
    assert emulator.log.routes == ["unknown", "unknown"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
async def test_a_body_that_is_no_json_object_is_a_bad_request(emulator: Emulator, body: bytes) -> None:
    headers = {"Authorization": "Bearer t"}
    status, answer = await ask(emulator, "/storage/responses?api-version=v1", "POST", headers=headers, data=body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_a_path_that_is_no_base64_is_a_bad_request(emulator: Emulator) -> None:
    for segment in ("a", "_-8", "%C3%BC"):
        path = f"/storage/state_stores/{segment}?api-version=v1"
        status, _ = await ask(emulator, path, headers={"Authorization": "Bearer t"})
        assert status == 400


async def test_requests_without_a_user_can_be_refused(foundry_emulator: StartEmulator) -> None:
    async with foundry_emulator(anonymous="refuse") as emulator, provider_of(emulator) as provider:
        with pytest.raises(FoundryApiError, match="x-agent-foundry-call-id"):
            await provider.create_response(response("r1"), [], [])
        await provider.create_response(response("r1"), [], [], context=of("alice"))
        made = await FoundryStateStore.get_or_create("s", emulator.credential, emulator.endpoint)
        async with aclosing(made) as store:
            await store.set_item("k", {}, call_id=call_id_for("alice"))


async def test_who_stands_behind_a_call_id_can_be_decided_by_the_test(foundry_emulator: StartEmulator) -> None:
    async with foundry_emulator(resolve_user=str.upper) as emulator:
        async with provider_of(emulator) as provider:
            await provider.create_response(response("r1"), [], [], context=PlatformContext(call_id="alice"))
            await provider.get_response("r1", context=PlatformContext(call_id="Alice"))
        assert [entry.user for entry in emulator.log] == ["ALICE"] * 2


@pytest.mark.parametrize("user", ["alice", "alice.smith@example.com", "ü/ %.", "a-b_c"])
def test_a_call_id_is_fresh_each_time_and_names_its_user(user: str) -> None:
    first, second = call_id_for(user), call_id_for(user)
    assert first != second
    assert first.isascii()
    assert user_of(first) == user_of(second) == user


async def test_the_log_tells_what_came_in_order(emulator: Emulator, provider: FoundryStorageProvider) -> None:
    alice = of("alice")
    await provider.create_response(response("r 1"), [], [], context=alice)
    await provider.get_input_items("r 1", limit=5, context=alice)
    first, second = emulator.log
    assert first == LoggedRequest(
        sequence=1,
        method="POST",
        route="responses.create",
        path="/storage/responses",
        user="alice",
        call_id=alice.call_id,
        body_size=len(json.dumps({"response": response("r 1"), "input_items": [], "history_item_ids": []})),
        status=201,
    )
    assert (second.path, dict(second.query)) == (
        "/storage/responses/r%201/input_items",
        {"limit": "5", "order": "desc"},
    )
    emulator.log.clear()
    await provider.get_items([], context=alice)
    assert [(entry.sequence, entry.route) for entry in emulator.log] == [(3, "responses.items")]


async def test_every_request_takes_the_latency(foundry_emulator: StartEmulator) -> None:
    async with foundry_emulator(latency=0.05) as emulator, provider_of(emulator) as provider:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await provider.get_items([], context=of("alice"))
        assert loop.time() - started >= 0.05


async def test_two_emulators_share_nothing(foundry_emulator: StartEmulator) -> None:
    async with foundry_emulator() as one, foundry_emulator() as other:
        async with provider_of(one) as first, provider_of(other) as second:
            await first.create_response(response("r1"), [], [], context=of("alice"))
            await second.create_response(response("r1"), [], [], context=of("alice"))
        assert len(one.log) == len(other.log) == 1


async def test_an_emulator_that_starts_again_is_a_service_after_an_outage() -> None:
    emulator = Emulator()
    async with emulator:
        emulator.trust()
        provider = provider_of(emulator)
        await provider.create_response(response("r1"), [], [], context=of("alice"))
    async with provider:
        with pytest.raises(ServiceRequestError):
            await provider.create_response(response("r2"), [], [], context=of("alice"))
        async with emulator:
            assert (await provider.get_response("r1", context=of("alice")))["id"] == "r1"


async def test_the_fixture_hosts_this_process_only_inside_its_block(foundry_emulator: StartEmulator) -> None:
    before = dict(os.environ)
    async with foundry_emulator() as emulator:
        assert {**before, **emulator.environment} == dict(os.environ)
    assert dict(os.environ) == before


async def test_many_requests_at_once_are_all_served(emulator: Emulator, provider: FoundryStorageProvider) -> None:
    creating = [provider.create_response(response(f"r{n}"), [], [], context=of(f"u{n % 7}")) for n in range(150)]
    await asyncio.gather(*creating)
    assert [entry.status for entry in emulator.log] == [201] * 150


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


async def test_a_stopped_emulator_leaves_nothing_behind() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="async with"):
        _ = emulator.endpoint
    async with emulator:
        directory = emulator.ca_file.parent
        assert names_in(directory) >= {"ca.pem", "bundle.pem"}
    assert names_in(directory) == set()
    with pytest.raises(RuntimeError, match="async with"):
        _ = emulator.environment


async def test_another_process_needs_only_the_environment(emulator: Emulator) -> None:
    code = """
import asyncio
from azure.ai.agentserver.core.storage import FoundryStateStore
from azure.ai.agentserver.responses import FoundryStorageProvider
from azure.identity.aio import DefaultAzureCredential

async def main():
    async with DefaultAzureCredential() as credential, FoundryStorageProvider(credential) as provider:
        await provider.create_response({"id": "r1", "output": []}, [], [])
    store = await FoundryStateStore.get_or_create("s")
    await store.set_item("k", {})
    await store.aclose()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", code, env={**os.environ, **emulator.environment}
    )
    assert await process.wait() == 0
    assert emulator.log.routes == ["responses.create", "stores.get", "stores.create", "items.set"]


async def test_a_token_is_given_only_to_who_knows_the_secret(emulator: Emulator) -> None:
    context = ssl.create_default_context(cafile=emulator.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(emulator.environment["IDENTITY_ENDPOINT"]) as answer:
            assert answer.status == 401


def test_importing_the_package_loads_no_web_server() -> None:
    code = """
import sys
import hostedagent.emulator
loaded = [name for name in ("aiohttp", "azure", "cryptography") if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_export_exists_and_unknown_names_are_attribute_errors() -> None:
    assert all(getattr(hostedagent.emulator, name) is not None for name in hostedagent.emulator.__all__)
    assert set(dir(hostedagent.emulator)) >= set(hostedagent.emulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(hostedagent.emulator, "nothing")  # noqa: B009 - the point is the missing name
