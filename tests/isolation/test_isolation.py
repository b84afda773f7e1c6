"""Nobody reads, lists, continues, replays, cancels, approves, deletes or meets what is somebody else's.

Every probe is made twice: with the owner's ids and with ids that do not exist. The answers must be the same.
"""

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from hostedagent.testing import Reply
from tests.isolation.probes import BLOCKED, OPEN, PROBES, Attempt, Probe, comparable
from tests.isolation.states import STATES, State, nobody, settle, until
from tests.isolation.world import (
    CONVERSATION,
    IDENTITIES,
    OWNER,
    SECRET,
    STORES,
    Identity,
    Owned,
    World,
    inhabiting,
)

REPLAYABLE = ("background, streamed", "just finished, can be replayed")


async def send(world: World, attempt: Attempt, user: str) -> Reply:
    headers = {**world.identity.headers(user), **attempt.headers}
    return await world.client.request(attempt.method, attempt.url, json=attempt.body, headers=headers)


async def differences(world: World, probe: Probe, number: int, owned: Owned) -> list[str]:
    """What a probe shows that it must not. Each intruder comes once: what it left must not tell the next anything."""
    unknown = nobody()
    foreign, absent = probe.attempt(owned), probe.attempt(unknown)
    met = await send(world, foreign, f"bob{number}")
    missed = await send(world, absent, f"eve{number}")
    found: list[str] = []
    if SECRET in met.text or (CONVERSATION not in str(foreign.body) and CONVERSATION in met.text):
        found.append(f"{probe.name}: told {met.text[:300]}")
    if not probe.may_work and met.status < 300:
        found.append(f"{probe.name}: worked with {met.status}: {met.text[:300]}")
    here, there = comparable(met, foreign, owned), comparable(missed, absent, unknown)
    if here != there:
        found.append(f"{probe.name}: foreign {here} but unknown {there}")
    return found


async def assert_untouched(world: World, state: State, owned: Owned, in_conversation: bool) -> None:
    """See that the owner finds everything as it was, and can go on."""
    world.gate.open()
    await world.client.idle()
    reply = await world.as_owner("GET", f"/responses/{owned.response_id}")
    if state.status is None:
        assert reply.status == 404
        return
    response = await until(world, owned.response_id, state.status)
    assert SECRET in str(response["output"]) or "I heard you." in str(response["output"])
    items = await world.as_owner("GET", f"/responses/{owned.response_id}/input_items")
    assert SECRET in items.text
    chain = {"conversation": CONVERSATION} if in_conversation else {"previous_response_id": owned.response_id}
    if state.asks:
        answer = {"type": "mcp_approval_response", "approval_request_id": owned.approval_id, "approve": True}
        reply = await world.post(OWNER, {"input": [answer], **chain})
        assert reply.status == 200, reply.text
        assert world.payments == [SECRET]
    else:
        reply = await world.post(OWNER, {"input": "Go on.", **chain})
        assert reply.status == 200, reply.text
        assert SECRET in "\n".join(world.model.calls[-1].transcript)


async def assert_isolated(stores: str, identity: Identity, state: State, folder: Path, in_conversation: bool) -> None:
    """Let every probe be tried on the owner's response in a state, and see what came of it."""
    async with inhabiting(stores, folder, identity) as world:
        owned = await settle(world, state, in_conversation)

        found: list[str] = []
        for number, probe in enumerate(PROBES):
            found += await differences(world, probe, number, owned)

        assert not found, "\n".join(found)
        world.assert_apart()
        await assert_untouched(world, state, owned, in_conversation)
        assert not world.client.errors


def cell(stores: str, identity: Identity, state: State, states: Sequence[State]) -> Any:
    """A case; it combines again what meets in memory too, unless it is one of those that try the pairs with stores."""
    number = STORES.index(stores) + states.index(state) - IDENTITIES.index(identity)
    is_new = stores == "memory" or number % min(len(IDENTITIES), len(states)) == 0
    marks = () if is_new else (pytest.mark.combined_again,)
    return pytest.param(stores, identity, state, id=f"{stores}-{identity.name}-{state.name}", marks=marks)


def cells(states: Sequence[State]) -> list[Any]:
    return [cell(*each, states) for each in product(STORES, IDENTITIES, states)]


CELLS = cells(STATES)
REPLAYED = cells([state for state in STATES if state.name in REPLAYABLE])


@pytest.mark.parametrize("table", [CELLS, REPLAYED], ids=["all states", "states that can be replayed"])
def test_every_pair_of_stores_identity_and_state_is_tried(table: list[Any]) -> None:
    tried = [case.values for case in table if not case.marks]

    assert {pair for case in table for pair in combinations(map(id, case.values), 2)} == {
        pair for case in tried for pair in combinations(map(id, case), 2)
    }


@pytest.mark.parametrize(("stores", "identity", "state"), CELLS)
async def test_what_is_foreign_is_as_what_does_not_exist(
    stores: str, identity: Identity, state: State, tmp_path: Path
) -> None:
    # Both ways of joining turns are covered, without doubling everything.
    in_conversation = state.name != "asking" or identity.name != "protocol 2.0.0"

    await assert_isolated(stores, identity, state, tmp_path, in_conversation)


@pytest.mark.parametrize(("stores", "identity", "state"), REPLAYED)
async def test_the_stores_alone_know_whose_a_response_is(
    stores: str, identity: Identity, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostedagent.engine.responses.MAX_OWNERS", 0)  # As for a response that was pushed out.

    await assert_isolated(stores, identity, state, tmp_path, in_conversation=False)


async def test_every_route_of_the_host_is_in_the_table(tmp_path: Path) -> None:
    async with inhabiting("memory", tmp_path, IDENTITIES[0]) as world:
        routes = {
            (method, getattr(route, "path", ""))
            for route in world.host.app.routes
            for method in getattr(route, "methods", None) or ("?",)
            if method != "HEAD"
        }

    probed = {probe.route for probe in PROBES}
    assert routes <= probed | OPEN | BLOCKED
    assert probed | OPEN <= routes, "the table has a route that the host has not"


@pytest.mark.parametrize("route", sorted(BLOCKED))
async def test_nobody_reaches_the_snapshot_routes(route: tuple[str, str], tmp_path: Path) -> None:
    method, path = route
    async with inhabiting("memory", tmp_path, IDENTITIES[0]) as world:
        reply = await send(world, Attempt(method, path, {}), OWNER)

        assert reply.status == 404
