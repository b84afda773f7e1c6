"""Nobody meets what is somebody else's through a door: each probe with the owner's ids, and with ids that do not exist.

A door reads in its own way which conversation, question, call or invocation its client names, so that is what is tried
here, in the states of a response in which it matters. Whose something is, the stores decide behind every door, and for
them `test_isolation.py` has every state, store and kind of identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from hostedagent.doors import AgUi, Door, Invocations
from hostedagent.testing import Reply
from tests.doors.table import DOORS
from tests.doors.ways import WAYS, Way, run_of
from tests.isolation.probes import Attempt, comparable
from tests.isolation.states import STATES, State, fresh_id, nobody, settle
from tests.isolation.test_isolation import assert_untouched, send
from tests.isolation.world import CONVERSATION, IDENTITIES, OWNER, SECRET, Identity, Owned, World, inhabiting
from tests.stores import CHOSEN

TRIED: Final = ("in flight", "finished", "asking")
WHO: Final = ("protocol 2.0.0", "Easy Auth, platform headers forged")
INVOCATION: Final = "invocation_of_ann"
RUN: Final = {"threadId": "thread_of_ann", "runId": "run_of_ann"}

Body = Callable[[Owned], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to send through a way; `may_work` where a new response of the intruder's own is a fine answer."""

    name: str
    body: Body
    may_work: bool = False


def _responses(more: Mapping[str, Any]) -> list[Probe]:
    """What a `response.create` can name."""

    def probe(name: str, body: Body, *, may_work: bool = False) -> Probe:
        return Probe(name, lambda it: {"input": "intruder", **more, **body(it)}, may_work)

    def yes(it: Owned) -> dict[str, Any]:
        return {"type": "mcp_approval_response", "approval_request_id": it.approval_id, "approve": True}

    return [
        probe("its conversation", lambda it: {"conversation": it.conversation_id}, may_work=True),
        probe("its id as previous", lambda it: {"previous_response_id": it.response_id}),
        probe("a reference", lambda it: {"input": [{"type": "item_reference", "id": it.item_ids[0]}]}),
        probe("an approval", lambda it: {"input": [yes(it)]}),
        probe("an approval in its conversation", lambda it: {"input": [yes(it)], "conversation": it.conversation_id}),
        probe(
            "a result of its call",
            lambda it: {
                "input": [{"type": "function_call_output", "call_id": it.call_id, "output": "paid"}],
                "conversation": it.conversation_id,
            },
        ),
    ]


def _invocations(more: Mapping[str, Any]) -> list[Probe]:
    def probe(name: str, body: Body, *, may_work: bool = False) -> Probe:
        return Probe(name, lambda it: {**more, **body(it)}, may_work)

    return [
        probe("its conversation", lambda it: {"input": "intruder", "conversation": it.conversation_id}, may_work=True),
        probe("a reference", lambda it: {"input": [{"type": "item_reference", "id": it.item_ids[0]}]}),
        probe("an approval", lambda it: {"responses": {it.approval_id: True}}),
        probe(
            "an approval in its conversation",
            lambda it: {"responses": {it.approval_id: True}, "conversation": it.conversation_id},
        ),
        probe(
            "a result of its call",
            lambda it: {"responses": {it.call_id: "paid"}, "conversation": it.conversation_id},
        ),
    ]


def _ag_ui() -> list[Probe]:
    def yes(it: Owned) -> list[Any]:
        return [{"interruptId": it.approval_id, "status": "resolved", "payload": {"approved": True}}]

    def shown(it: Owned) -> dict[str, Any]:
        """A thread that shows the owner's last item, and not those before it."""
        run = run_of("intruder", it.conversation_id)
        return {**run, "messages": [{"id": it.item_ids[-1], "role": "assistant", "content": "x"}, *run["messages"]]}

    def result(it: Owned) -> dict[str, Any]:
        message = {"id": "r", "role": "tool", "toolCallId": it.call_id, "content": "paid"}
        return {**run_of("", it.conversation_id), "messages": [message]}

    return [
        Probe("its conversation", lambda it: run_of("intruder", it.conversation_id), may_work=True),
        Probe("its thread, edited", shown, may_work=True),
        Probe("its run", lambda it: {**run_of("intruder", ""), **RUN}, may_work=True),
        Probe("an approval", lambda it: {**run_of("intruder", fresh_id("conv", 7)), "messages": [], "resume": yes(it)}),
        Probe(
            "an approval in its thread",
            lambda it: {**run_of("intruder", it.conversation_id), "messages": [], "resume": yes(it)},
        ),
        Probe("a result of its call", result),
    ]


def _chat(more: Mapping[str, Any]) -> list[Probe]:
    def said(it: Owned, **message: str) -> dict[str, Any]:
        return {"model": "m", "messages": [message], "conversation": it.conversation_id, **more}

    return [
        Probe("its conversation", lambda it: said(it, role="user", content="intruder"), may_work=True),
        Probe("a result of its call", lambda it: said(it, role="tool", tool_call_id=it.call_id, content="paid")),
    ]


def probes_of(way: Way) -> list[Probe]:
    """What an intruder can name through a way."""
    match way.door:
        case "Responses" | "WebSocket":
            return _responses(way.more)
        case "Invocations":
            return _invocations(way.more)
        case "AG-UI":
            return _ag_ui()
        case _:
            return _chat(way.more)


async def sent(world: World, way: Way, probe: Probe, target: Owned, user: str) -> tuple[int, dict[str, str], str]:
    headers = world.identity.headers(user)
    body = probe.body(target)
    status, raw = await way.send(world.host.app, world.client, body, target.conversation_id, headers)
    assert SECRET not in raw, f"{probe.name}: told {raw[:300]}"
    if status == 200 and not probe.may_work:
        assert way.said(status, raw).end not in ("completed", "incomplete"), f"{probe.name} worked: {raw[:300]}"
    return comparable(Reply(status, {}, raw.encode()), Attempt("POST", way.path, body), target)


def doors() -> list[Door]:
    return [AgUi(resumable=True), Invocations()]


@pytest.mark.parametrize("door", [name for name in WAYS if name != "responses"])
@pytest.mark.parametrize("state", [state for state in STATES if state.name in TRIED], ids=lambda state: state.name)
@pytest.mark.parametrize("identity", [one for one in IDENTITIES if one.name in WHO], ids=lambda one: one.name)
async def test_what_is_foreign_is_as_what_does_not_exist(
    identity: Identity, state: State, door: str, tmp_path: Path
) -> None:
    way = WAYS[door]
    async with inhabiting(CHOSEN.kind, tmp_path, identity, doors=doors()) as world:
        owned = await settle(world, state, in_conversation=True)
        run = {**run_of(f"Remember the {SECRET}.", ""), **RUN}
        headers = identity.headers(OWNER)
        assert (await world.client.post("/ag-ui", json=run, headers=headers)).status == 200

        for number, probe in enumerate(probes_of(way)):
            foreign = await sent(world, way, probe, owned, f"bob{number}")
            unknown = nobody()
            assert foreign == await sent(world, way, probe, unknown, f"eve{number}"), probe.name

        world.assert_apart()
        await assert_untouched(world, state, owned, in_conversation=True)


@pytest.mark.parametrize("door", WAYS)
async def test_the_owner_answers_through_each_door_what_nobody_else_can(door: str, tmp_path: Path) -> None:
    way = WAYS[door]
    probe = next((one for one in probes_of(way) if one.name.startswith("an approval in its")), None)
    if probe is None:
        pytest.skip(f"{door}: {DOORS[way.door]['approvals']}")
    async with inhabiting(CHOSEN.kind, tmp_path, IDENTITIES[0], doors=doors()) as world:
        owned = await settle(world, next(state for state in STATES if state.asks), in_conversation=True)
        headers = world.identity.headers(OWNER)
        status, raw = await way.send(world.host.app, world.client, probe.body(owned), owned.conversation_id, headers)

        assert way.said(status, raw).end == "completed" and world.payments == [SECRET]


@pytest.mark.parametrize("identity", [one for one in IDENTITIES if one.name in WHO], ids=lambda one: one.name)
async def test_nobody_reads_repeats_or_cancels_an_invocation_of_somebody_else(
    identity: Identity, tmp_path: Path
) -> None:
    async with inhabiting(CHOSEN.kind, tmp_path, identity, doors=doors()) as world:
        named = {"x-agent-invocation-id": INVOCATION}
        body, owner = {"input": f"Remember the {SECRET}.", "conversation": CONVERSATION}, identity.headers(OWNER)
        made = await world.client.post("/invocations", json=body, headers=owner | named)
        for method, path in (("GET", "/invocations/{}"), ("POST", "/invocations/{}/cancel")):
            met = await send(world, Attempt(method, path.format(INVOCATION)), "bob")
            missed = await send(world, Attempt(method, path.format("invocation_of_eve")), "bob")
            said = missed.json()["error"]["message"].replace("invocation_of_eve", INVOCATION)
            assert (met.status, missed.status, met.json()["error"]["message"]) == (404, 404, said)
        mine = await send(world, Attempt("POST", "/invocations", {"input": "intruder"}, named), "bob")
        again = await world.client.get(f"/invocations/{INVOCATION}", headers=owner)

        assert (mine.status, again.json()) == (200, made.json())
        world.assert_apart()


def test_what_a_door_cannot_say_is_in_the_table() -> None:
    for way in WAYS.values():
        names = {probe.name for probe in probes_of(way)}
        says_approvals = any("approval" in name for name in names)
        assert says_approvals != DOORS[way.door]["approvals"].startswith("no"), way.door
