"""A refusal gives back what the request took before it is sent: the next request of the conversation is accepted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Record, Store, StoreUnavailable, Write
from hostedagent.stores.leases import CONVERSATION
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve
from tests.stores import KINDS, StoreKind, opened

ROUNDS = 8
TALK = {"input": "hi", "conversation": "conv_1"}


@dataclass(slots=True)
class Faulty:
    """A store whose reads, or whose calls from some call on, fail."""

    inner: Store
    fails_reads: bool = False
    fails_in: int | None = None

    def count(self) -> None:
        if self.fails_in is not None:
            self.fails_in -= 1
            if self.fails_in == 0:
                raise StoreUnavailable("away")

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        if self.fails_reads:
            raise StoreUnavailable("away")
        self.count()
        return await self.inner.read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        self.count()
        return await self.inner.write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        await self.inner.delete(caller, keys, expect=expect)


@asynccontextmanager
async def hosted(agent: Any, kind: StoreKind, driver: Driver) -> AsyncGenerator[tuple[InProcessClient, Faulty]]:
    async with opened(kind) as (stores, identified):
        faulty = Faulty(stores.state)
        host = AgentHost(agent, stores=replace(stores, state=faulty), driver=driver)
        async with serve(identified(host.app)) as client:
            yield client, faulty


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_reference": 5},
        {"input": [{"type": "item_reference", "id": "msg_unknown"}]},
        {"input": [{"type": "function_call_output", "call_id": "unknown", "output": "1"}]},
        {"background": True, "store": False},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_after_a_refusal_the_next_request_of_the_conversation_is_accepted_at_once(
    wrong: dict[str, Any], kind: StoreKind, driver: Driver
) -> None:
    async with hosted(ScriptedAgent(*[["ok"]] * ROUNDS), kind, driver) as (client, _):
        for _ in range(ROUNDS):
            refused = await client.post("/responses", json={**TALK, **wrong})
            assert 400 <= refused.status < 500 and refused.status != 409, refused.text
            assert (await client.post("/responses", json=TALK)).status == 200


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "delivery", [{}, {"stream": True}, {"background": True}], ids=["plain", "stream", "background"]
)
async def test_after_a_fault_of_the_storage_the_next_request_of_the_conversation_is_accepted_at_once(
    delivery: dict[str, Any], kind: StoreKind, driver: Driver
) -> None:
    async with hosted(ScriptedAgent(*[["ok"]] * 99), kind, driver) as (client, faulty):
        for call in range(1, ROUNDS):
            talk = {**TALK, "conversation": f"conv_{call}"}
            faulty.fails_in = call
            failed = await client.post("/responses", json={**talk, **delivery})
            is_refused, faulty.fails_in = failed.status != 200, None
            assert failed.status in (200, 503), failed.text
            if is_refused:
                assert failed.headers["retry-after"] == "1"
                assert (await client.post("/responses", json=talk)).status == 200


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_every_read_that_the_storage_fails_is_503(kind: StoreKind, driver: Driver) -> None:
    async with opened(kind) as (stores, identified):
        faulty = Faulty(stores.state)
        broken = type(stores).over(faulty)
        async with serve(identified(AgentHost(ScriptedAgent(["ok"]), stores=broken, driver=driver).app)) as client:
            response_id = (await client.post("/responses", json={"input": "hi", "conversation": "conv_1"})).json()["id"]
        async with serve(identified(AgentHost(ScriptedAgent(["ok"]), stores=broken, driver=driver).app)) as client:
            faulty.fails_reads = True
            for method, path, body in (
                ("GET", f"/responses/{response_id}", None),
                ("GET", f"/responses/{response_id}?stream=true", None),
                ("GET", f"/responses/{response_id}/input_items", None),
                ("POST", f"/responses/{response_id}/cancel", None),
                ("DELETE", f"/responses/{response_id}", None),
                ("POST", "/responses", {"input": "hi", "previous_response_id": response_id}),
                ("POST", "/responses", {"input": "hi", "conversation": "conv_1"}),
                ("POST", "/responses", {"input": "hi", "conversation": "conv_1", "stream": True}),
                ("POST", "/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
            ):
                reply = await client.request(method, path, json=body)
                assert reply.status == 503, f"{method} {path} {body}: {reply.status} {reply.text}"
                assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_busy_conversation_is_refused_with_the_time_to_wait(driver: Driver) -> None:
    gate = Gate()
    async with hosted(ScriptedAgent([gate]), "memory", driver) as (client, _):
        body = {**TALK, "background": True}
        assert (await client.post("/responses", json=body)).status == 200
        await gate.reached()
        busy = await client.post("/responses", json=TALK)
        gate.open()

    assert (busy.status, busy.headers["retry-after"]) == (409, "1")


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_host_that_was_closed_says_that_it_cannot_be_opened_again(driver: Driver) -> None:
    host = AgentHost(ScriptedAgent(["Hello."]), driver=driver)
    async with serve(host.app) as client:
        assert (await client.post("/responses", json=TALK)).status == 200
    with pytest.raises(RuntimeError, match=r"was closed.* Create a new one\."):
        async with serve(host.app):
            pass


@dataclass(slots=True)
class Releasing:
    """A store that is slow to release a conversation."""

    inner: Store
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        return await self.inner.read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        if any(write.key.kind == CONVERSATION and b'"owner":null' in (write.value or b"") for write in writes):
            await self.goes_on.wait()
        return await self.inner.write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        await self.inner.delete(caller, keys, expect=expect)


async def test_a_turn_that_is_read_as_completed_is_continued_while_its_conversation_is_released() -> None:
    async with opened("foundry") as (stores, identified):
        slow = Releasing(stores.state)
        host = AgentHost(ScriptedAgent(["One."], ["Two."]), stores=replace(stores, state=slow), driver="starlette")
        async with serve(identified(host.app)) as client:
            begun = (await client.post("/responses", json={**TALK, "background": True})).json()
            while (read := (await client.get(f"/responses/{begun['id']}")).json())["status"] != "completed":
                pass
            following = asyncio.create_task(client.post("/responses", json=TALK))
            for _ in range(5):
                await client.get(f"/responses/{read['id']}")
            slow.goes_on.set()
            reply = await following

    assert reply.status == 200, reply.text
