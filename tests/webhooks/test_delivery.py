"""Webhooks arrive at least once: at receivers that fail or are slow, and after restarts, on every kind of store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hostedagent import AgentHost, Hooks, Stores, TurnRequest, sqlite_stores
from hostedagent.host import Driver
from hostedagent.stores.outbox import Delivery, StoredOutbox
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.stores import KINDS, StoreKind, opened
from tests.webhooks.receiver import Receiver, receiving


@asynccontextmanager
async def hosted(
    receiver: Receiver,
    agent: Any = None,
    *,
    stores: Stores | None = None,
    kind: StoreKind = "memory",
    driver: Driver = "starlette",
    hooks: dict[str, Any] | None = None,
    **webhook: Any,
) -> AsyncGenerator[InProcessClient]:
    """A host that tells the receiver."""
    async with opened(kind) as (own, identified):
        given = Hooks(on_outcome=receiver.webhook(**webhook), **(hooks or {}))
        host = AgentHost(agent or ScriptedAgent(*["ok"] * 50), stores=stores or own, hooks=given, driver=driver)
        async with serve(identified(host.app)) as client:
            yield client


async def ask(client: InProcessClient, **more: Any) -> str:
    reply = await client.post("/responses", json={"input": "hi", **more})
    assert reply.status == 200, reply.text
    return reply.json()["id"]


@pytest.mark.parametrize("driver", ["starlette", "agentserver"])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_turn_is_told_once(kind: StoreKind, driver: Driver) -> None:
    async with receiving() as receiver, hosted(receiver, kind=kind, driver=driver) as client:
        ids = [await ask(client), await ask(client, background=True), await ask(client, store=False)]
        messages = await receiver.count(3)
        assert sorted(receiver.told) == sorted(("response.completed", response_id) for response_id in ids)
        assert {message.id for message in messages} == {f"evt_{response_id}" for response_id in ids}


async def test_a_message_holds_no_content() -> None:
    async with receiving() as receiver, hosted(receiver, ScriptedAgent("secret-4711")) as client:
        await ask(client, metadata={"a": "secret-4711"})
        (message,) = await receiver.count(1)
    assert "secret-4711" not in message.body


async def test_a_turn_that_fails_is_told_as_failed() -> None:
    async with receiving() as receiver, hosted(receiver, ScriptedAgent([RuntimeError("no")])) as client:
        await client.post("/responses", json={"input": "hi"})
        (message,) = await receiver.count(1)
    assert message.type == "response.failed"


async def test_a_cancelled_turn_is_told_as_cancelled() -> None:
    gate = Gate()
    async with receiving() as receiver, hosted(receiver, ScriptedAgent(["a", gate, "b"])) as client:
        response_id = await ask(client, background=True)
        await client.post(f"/responses/{response_id}/cancel")
        await receiver.count(1)
    assert receiver.told == [("response.cancelled", response_id)]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_fails_is_sent_again_under_the_same_id_until_it_is_taken(kind: StoreKind) -> None:
    async with receiving(500, "cut", 429) as receiver, hosted(receiver, kind=kind) as client:
        response_id = await ask(client)
        messages = await receiver.count(4)
        assert {message.id for message in messages} == {f"evt_{response_id}"}
        await ask(client)
        await receiver.count(5)
    assert len(receiver.messages) == 5


async def test_a_redirect_is_a_failure() -> None:
    async with receiving("redirect") as receiver, hosted(receiver) as client:
        await ask(client)
        await receiver.count(2)
    assert receiver.redirected == 0


@pytest.mark.parametrize("answers", [(500, 500, 500, 500), (410,)])
async def test_a_message_is_given_up_in_the_end_and_named_in_the_log(
    answers: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving(*answers) as receiver, hosted(receiver) as client:
        given_up = await ask(client)
        await receiver.count(len(answers))
        later = await ask(client)
        await receiver.until(lambda: ("response.completed", later) in receiver.told)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [response_id for _, response_id in receiver.told] == [given_up] * len(answers) + [later]
    assert [given_up in record.getMessage() for record in errors] == [True]
    assert receiver.url not in caplog.text  # It may hold a token.


async def test_a_slow_receiver_keeps_neither_turns_nor_other_messages_waiting() -> None:
    async with receiving("hang") as receiver, hosted(receiver) as client:
        slow = await ask(client)
        await receiver.count(1)
        others = [await ask(client) for _ in range(3)]
        await receiver.count(4)
        assert receiver.told == [("response.completed", response_id) for response_id in [slow, *others]]


async def test_a_receiver_may_name_the_date_of_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, paused = list[float](), asyncio.Event()

    async def retry(self: StoredOutbox, delivery: Delivery, *, delay: float) -> None:
        pauses.append(delay)
        paused.set()

    monkeypatch.setattr(StoredOutbox, "retry", retry)
    async with receiving("later") as receiver, hosted(receiver) as client:
        await ask(client)
        async with asyncio.timeout(PATIENCE):
            await paused.wait()
    assert 600 - PATIENCE < pauses[0] <= 600


async def test_the_application_can_look_at_a_request_beside_a_webhook() -> None:
    seen: list[str] = []

    async def before_run(request: TurnRequest) -> None:
        seen.append(request.response_id)

    async with receiving() as receiver, hosted(receiver, hooks={"before_run": before_run}) as client:
        assert [await ask(client)] == seen
        await receiver.count(1)


async def test_what_was_not_delivered_is_sent_by_the_next_process_on_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with receiving(503) as receiver:
        stores = sqlite_stores(path)
        async with hosted(receiver, stores=stores, retry_after=(0.5,) * 9) as client:
            response_id = await ask(client)
            await receiver.count(1)
        async with hosted(receiver, stores=sqlite_stores(path), retry_after=(0.5,) * 9):
            await receiver.count(2)
    assert receiver.told == [("response.completed", response_id)] * 2
