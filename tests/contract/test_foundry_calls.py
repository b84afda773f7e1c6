from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from azure.ai.agentserver.core import FoundryAgentRequestContext, reset_request_context, set_request_context

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, MAX_VALUE_BYTES, Key, StoreTooLarge, StoreUnavailable, Value, Write
from hostedagent.stores.foundry.client import FoundryClient
from hostedagent.stores.foundry.store import FoundryStore
from hostedagent.stores.retry import RetryPolicy
from tests.stores.records import delete, get, put

SCOPE = Scope("user:ann")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


def connect(emulator: Emulator) -> FoundryStore:
    return FoundryStore(endpoint=emulator.endpoint, credential=emulator.credential, ca_file=emulator.ca_file)


def service(emulator: Emulator) -> FoundryClient:
    """The service without what a store adds."""
    options: Any = {"ttl_seconds": 1000, "ca_file": str(emulator.ca_file), "retry": RetryPolicy()}
    return FoundryClient("hostedagent", emulator.credential, emulator.endpoint, **options)


async def test_a_plain_turn_costs_two_calls(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "k", {"n": 1})
        emulator.log.clear()
        found = await get(store, SCOPE, "session", "k")
        assert found is not None
        await put(store, SCOPE, "session", "k", {"n": 2}, expect=found.etag)
    assert emulator.log.routes == ["items.get", "items.set"]


async def test_a_new_process_asks_for_the_store_only_when_it_is_missing(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        assert await get(store, SCOPE, "session", "k") is None
        await delete(store, SCOPE, "session", "k")
        assert {route.split(".")[0] for route in emulator.log.routes} == {"items"}
        await asyncio.gather(*(put(store, SCOPE, "session", f"k{n}", {"n": n}, expect=ABSENT) for n in range(9)))
    assert emulator.log.routes.count("stores.create") == 1
    emulator.log.clear()
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "new", {"n": 1}, expect=ABSENT)
    assert emulator.log.routes == ["items.create"]


async def test_the_call_id_of_the_request_goes_along_and_the_service_keeps_users_apart(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        for user in ("ann", "bob"):
            call_id = call_id_for(user)
            token = set_request_context(FoundryAgentRequestContext(call_id=call_id))
            try:
                # Equal scopes, as a mistake of the host would make them: the service still tells the users apart.
                await put(store, SCOPE, "session", "k", {"user": user}, expect=ABSENT)
                found = await get(store, SCOPE, "session", "k")
            finally:
                reset_request_context(token)
            assert found is not None
            assert found.value == {"user": user}
            assert {entry.call_id for entry in emulator.log if entry.user == user} == {call_id}


async def test_the_call_id_is_the_callers(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        assert await store.read(Caller(SCOPE, call_id="ann.explicit"), [Key("session", "k")]) == [None]
    assert [entry.call_id for entry in emulator.log] == ["ann.explicit"]


async def test_scopes_are_apart_although_the_service_knows_one_user(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "k", {"n": 1})
        assert await get(store, Scope("user:bob"), "session", "k") is None


async def test_nothing_that_a_caller_says_is_in_a_path(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "my-key", {"n": 1})
        await get(store, SCOPE, "session", "my-key")
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
        with pytest.raises(StoreTooLarge):
            await put(store, SCOPE, "session", "k", value)
    assert list(emulator.log) == []


async def test_an_item_of_exactly_the_largest_size_is_written_and_no_larger_one(emulator: Emulator) -> None:
    caller, key = Caller(SCOPE), Key("session", "k")
    async with connect(emulator) as store:
        await store.write(caller, [Write(key, b'{"text":""}')])
        async with aclosing(service(emulator)) as old:
            item = await old.get(SCOPE.key("session", "k"), None)
        assert item is not None
        rest = 1_000_000 - len(json.dumps(item.value))
        await store.write(caller, [Write(Key("session", "l"), b'{"text":"%s"}' % (b"x" * rest))])
        with pytest.raises(StoreTooLarge):
            await store.write(caller, [Write(Key("session", "l"), b'{"text":"%s"}' % (b"x" * (rest + 1)))])


async def test_an_explicit_endpoint_leaves_the_environment_as_it_was(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_HOSTING_ENVIRONMENT", raising=False)
    before = dict(os.environ)
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "k", {"n": 1})
    assert dict(os.environ) == before
    assert "items.set" in emulator.log.routes


async def test_a_given_credential_stays_open(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await get(store, SCOPE, "session", "k")
    assert not emulator.credential.closed


def test_importing_loads_no_client_and_building_warns_about_nothing() -> None:
    program = """
import sys
import hostedagent, hostedagent.stores.factory
assert not [name for name in sys.modules if name.startswith("azure.ai.agentserver.core.storage")]

class Credential:
    pass

hostedagent.foundry_stores(endpoint="https://localhost/project", credential=Credential())
"""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("AZURE_AI_AGENTSERVER")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ({"value": {"n": 1, "ü": [True, None, 0.5]}}, {"n": 1, "ü": [True, None, 0.5]}),
        ({"json": '{"nul":"\\u0000"}'}, {"nul": "\x00"}),
    ],
)
async def test_what_version_0_1_wrote_is_read(emulator: Emulator, stored: dict[str, Any], value: Value) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "other", {"n": 1})
        async with aclosing(service(emulator)) as old:
            document: dict[str, Any] = {"key": '"k"', "write": "a token", "replaced": None, **stored}
            etag = await old.write(SCOPE.key("session", "k"), document, ABSENT, None)
        found = await get(store, SCOPE, "session", "k")
        assert found is not None
        assert found.value == value
        await put(store, SCOPE, "session", "k", {"n": 2}, expect=etag)


async def test_a_value_is_stored_as_json_that_version_0_1_reads(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "k", {"n": 1, "text": "Grüße"})
        async with aclosing(service(emulator)) as old:
            item = await old.get(SCOPE.key("session", "k"), None)
    assert item is not None
    stored: Any = item.value
    assert stored["value"] == {"n": 1, "text": "Grüße"}
    assert set(stored) == {"key", "write", "replaced", "value"}


async def test_an_item_of_an_unknown_form_is_unavailable(emulator: Emulator) -> None:
    async with connect(emulator) as store:
        await put(store, SCOPE, "session", "other", {"n": 1})
        async with aclosing(service(emulator)) as old:
            await old.write(SCOPE.key("session", "k"), {"somebody": "else's"}, ABSENT, None)
        with pytest.raises(StoreUnavailable):
            await get(store, SCOPE, "session", "k")
