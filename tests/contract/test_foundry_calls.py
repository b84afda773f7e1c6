from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from azure.ai.agentserver.core import FoundryAgentRequestContext, reset_request_context, set_request_context

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.errors import ConfigurationError
from hostedagent.identity import Scope
from hostedagent.stores.base import ABSENT, MAX_VALUE_BYTES, StateTooLarge, Value
from hostedagent.stores.foundry import FoundryState

SCOPE = Scope("user:ann")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


def connect(emulator: Emulator) -> FoundryState:
    return FoundryState(endpoint=emulator.endpoint, credential=emulator.credential, ca_file=emulator.ca_file)


async def test_a_plain_turn_costs_two_calls(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await store.put(SCOPE, "session", "k", {"n": 1})
        emulator.log.clear()
        found = await store.get(SCOPE, "session", "k")
        assert found is not None
        await store.put(SCOPE, "session", "k", {"n": 2}, expect=found.etag)
    assert emulator.log.routes == ["items.get", "items.set"]


async def test_a_new_process_asks_for_the_store_only_when_it_is_missing(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        assert await store.get(SCOPE, "session", "k") is None
        assert [key async for key in store.keys(SCOPE, "session")] == []
        await store.delete(SCOPE, "session", "k")
        assert {route.split(".")[0] for route in emulator.log.routes} == {"items"}
        await asyncio.gather(*(store.put(SCOPE, "session", f"k{n}", {"n": n}, expect=ABSENT) for n in range(9)))
    assert emulator.log.routes.count("stores.create") == 1
    emulator.log.clear()
    async with connect(emulator) as store:
        await store.put(SCOPE, "session", "new", {"n": 1}, expect=ABSENT)
    assert emulator.log.routes == ["items.create"]


async def test_the_call_id_of_the_request_goes_along_and_the_service_keeps_users_apart(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        for user in ("ann", "bob"):
            call_id = call_id_for(user)
            token = set_request_context(FoundryAgentRequestContext(call_id=call_id))
            try:
                # Equal scopes, as a mistake of the host would make them: the service still tells the users apart.
                await store.put(SCOPE, "session", "k", {"user": user}, expect=ABSENT)
                found = await store.get(SCOPE, "session", "k")
            finally:
                reset_request_context(token)
            assert found is not None
            assert found.value == {"user": user}
            assert {entry.call_id for entry in emulator.log if entry.user == user} == {call_id}


async def test_a_call_id_can_come_from_elsewhere(emulator: Emulator) -> None:
    async with FoundryState(
        endpoint=emulator.endpoint,
        credential=emulator.credential,
        ca_file=emulator.ca_file,
        call_id=lambda: "ann.from-elsewhere",
    ) as store:
        assert await store.get(SCOPE, "session", "k") is None
    assert [entry.call_id for entry in emulator.log] == ["ann.from-elsewhere"]


async def test_scopes_are_apart_although_the_service_knows_one_user(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await store.put(SCOPE, "session", "k", {"n": 1})
        assert await store.get(Scope("user:bob"), "session", "k") is None


async def test_nothing_that_a_caller_says_is_in_a_path(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await store.put(SCOPE, "session", "my-key", {"n": 1})
        await store.get(SCOPE, "session", "my-key")
    paths = {entry.path.rpartition("/")[2] for entry in emulator.log if entry.route == "items.get"}
    assert len(paths) == 1
    assert all(len(path) == 86 for path in paths), "base64url of 64 hexadecimal characters"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"text": "x" * MAX_VALUE_BYTES}, id="large"),
        pytest.param({"nul": "\x00", "text": '"' * (MAX_VALUE_BYTES // 3)}, id="large-as-it-is-stored"),
    ],
)
async def test_a_value_that_is_too_large_is_refused_before_any_call(emulator: Emulator, value: Value) -> None:
    async with connect(emulator) as store:
        with pytest.raises(StateTooLarge):
            await store.put(SCOPE, "session", "k", value)
    assert list(emulator.log) == []


async def test_unusual_keys_are_listed_at_one_call_each_and_plain_ones_at_none(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        for key in ("plain-1", "plain-2", "with space"):
            await store.put(SCOPE, "session", key, {"n": 1})
        emulator.log.clear()
        assert sorted([key async for key in store.keys(SCOPE, "session")]) == ["plain-1", "plain-2", "with space"]
    assert emulator.log.routes == ["items.list", "items.get"]


async def test_an_explicit_endpoint_leaves_the_environment_as_it_was(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_HOSTING_ENVIRONMENT", raising=False)
    before = dict(os.environ)
    async with connect(emulator) as store:
        await store.put(SCOPE, "session", "k", {"n": 1})
    assert dict(os.environ) == before
    assert "items.set" in emulator.log.routes


async def test_a_given_credential_stays_open(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await store.get(SCOPE, "session", "k")
    assert not emulator.credential.closed


def test_a_local_process_is_told_to_use_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOUNDRY_HOSTING_ENVIRONMENT", raising=False)
    with pytest.raises(ConfigurationError, match="FileStateStore"):
        FoundryState()


def test_a_hosted_process_without_an_endpoint_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTING_ENVIRONMENT", "x")
    monkeypatch.delenv("FOUNDRY_PROJECT_ENDPOINT", raising=False)
    with pytest.raises(ConfigurationError, match="FOUNDRY_PROJECT_ENDPOINT"):
        FoundryState()


def test_importing_loads_no_client_and_building_warns_about_nothing() -> None:
    program = """
import sys
import hostedagent.stores.foundry as foundry
assert not [name for name in sys.modules if name.startswith("azure.ai.agentserver.core.storage")]

class Credential:
    pass

foundry.FoundryState(endpoint="https://localhost/project", credential=Credential())
"""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("AZURE_AI_AGENTSERVER")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
