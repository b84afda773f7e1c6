"""Stores that were closed work again at the next call, as a restored copy of a process needs it."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest

from hostedagent import Stores, foundry_stores, sqlite_stores
from hostedagent.emulator import call_id_for
from hostedagent.identity import Caller, PlatformScopeResolver
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Key, Write
from hostedagent.testing.plugin import StartEmulator
from tests.postgres.server import postgres

NOTE = Key("note", "1")
RESPONSE: Final[dict[str, Json]] = {"id": "caresp_1", "object": "response", "status": "completed", "output": []}


def ada() -> Caller:
    """One request of a user: on Foundry each has a call id of its own."""
    call_id = call_id_for("ada")
    _, scope = PlatformScopeResolver()({USER_ID_HEADER: "ada", CALL_ID_HEADER: call_id})
    return Caller(scope, platform_user="ada", call_id=call_id)


@pytest.fixture(params=["sqlite", "postgres", "foundry"])
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, foundry_emulator: StartEmulator
) -> AsyncGenerator[Stores]:
    match request.param:
        case "sqlite":
            yield sqlite_stores(tmp_path / "state.db")
        case "postgres":
            with postgres() as opened:
                yield opened
        case _:
            async with foundry_emulator():
                yield foundry_stores()  # With the host's own credential, whose tokens come from the emulator.


async def test_stores_that_were_closed_open_again(stores: Stores) -> None:
    await stores.aopen()
    await stores.state.write(ada(), [Write(NOTE, b"before")])
    await stores.responses.create(ada(), RESPONSE, [])
    before = await stores.leases.liveness.name()
    await stores.aclose()

    await stores.aopen()
    try:
        (found,) = await stores.state.read(ada(), [NOTE])
        assert found is not None and found.value == b"before"
        assert (await stores.responses.get(ada(), "caresp_1"))["status"] == "completed"
        if stores.are_shared:  # Two copies of a process must not take each other's turns for their own.
            assert await stores.leases.liveness.name() != before
    finally:
        await stores.aclose()
