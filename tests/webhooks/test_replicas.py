"""Webhooks of replicas that share a database: each message once, and what a dead replica had is sent by another."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hostedagent import AgentHost, Hooks, TurnRequest, postgres_stores
from hostedagent.outcomes import Outcome
from hostedagent.testing import InProcessClient, ScriptedAgent, serve
from hostedagent.webhooks.deliveries import Deliveries
from tests.postgres.server import postgres_dsn, schema
from tests.webhooks.receiver import Receiver, receiving

PROJECT = Path(__file__).parents[2]


@pytest.fixture(name="schema")
def fresh_schema() -> Iterator[str]:
    with schema() as name:
        yield name


@asynccontextmanager
async def replica(receiver: Receiver, schema: str) -> AsyncGenerator[InProcessClient]:
    stores = postgres_stores(postgres_dsn(), schema=schema, pool_size=4)
    hooks = Hooks(on_outcome=receiver.webhook())
    host = AgentHost(ScriptedAgent(*["ok"] * 50), stores=stores, hooks=hooks, driver="starlette")
    async with serve(host.app) as client:
        yield client


@asynccontextmanager
async def killable(receiver: Receiver, schema: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    command = [sys.executable, "-m", "tests.webhooks.replica", postgres_dsn(), schema, receiver.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=PROJECT)
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def execute(schema: str, statement: str) -> list[Any]:
    import psycopg

    with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement.format(schema=schema).encode())
        return cursor.fetchall() if cursor.description is not None else []


async def ask(client: InProcessClient) -> str:
    reply = await client.post("/responses", json={"input": "hi"})
    assert reply.status == 200, reply.text
    return reply.json()["id"]


async def test_replicas_deliver_each_message_once(schema: str) -> None:
    async with receiving() as receiver, replica(receiver, schema) as one, replica(receiver, schema) as two:
        ids = await asyncio.gather(*(ask(client) for client in (one, two) * 15))
        await receiver.count(30)
        last = await ask(one)
        await receiver.until(lambda: ("response.completed", last) in receiver.told)
    assert sorted(response_id for _, response_id in receiver.told) == sorted([*ids, last])


async def test_what_a_killed_replica_was_sending_is_sent_by_another(schema: str) -> None:
    async with receiving("hang") as receiver:
        async with killable(receiver, schema) as (process, url), httpx.AsyncClient(timeout=None) as client:
            response_id = (await client.post(f"{url}/responses", json={"input": "hi"})).json()["id"]
            await receiver.count(1)
            process.kill()
            await process.wait()
        execute(schema, "UPDATE {schema}.outbox SET ready_at = now()")  # Its hold is over.
        async with replica(receiver, schema):
            await receiver.count(2)
    assert receiver.told == [("response.completed", response_id)] * 2


async def test_the_end_of_a_turn_that_its_process_could_not_note_is_looked_up(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: TurnRequest | Outcome | Deliveries) -> None:
        """The process ends between storing the response and noting the end."""

    async with receiving() as receiver, replica(receiver, schema) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Deliveries, "end", lost)
            async with replica(receiver, schema) as other:
                stored = await ask(other)
                never = await other.post("/responses", json={"input": "hi"})
                await other.request("DELETE", f"/responses/{never.json()['id']}")
        await ask(client)
        execute(schema, "UPDATE {schema}.outbox SET ready_at = now() WHERE event = ''")
        await receiver.count(2)
        assert ("response.completed", stored) in receiver.told
        while await asyncio.to_thread(execute, schema, "SELECT FROM {schema}.outbox"):
            pass  # The deleted one is dropped too.


async def test_what_was_given_up_is_kept_for_an_operator(schema: str) -> None:
    async with receiving(410) as receiver, replica(receiver, schema) as client:
        response_id = await ask(client)
        await receiver.count(1)
        await ask(client)
        await receiver.count(2)
        rows = "SELECT response_id, event, attempts FROM {schema}.outbox WHERE ready_at = 'infinity'"
        while not (kept := await asyncio.to_thread(execute, schema, rows)):
            pass
        assert kept == [(response_id, "response.completed", 1)]
        execute(schema, "UPDATE {schema}.outbox SET ready_at = now(), attempts = 0 WHERE ready_at = 'infinity'")
        await receiver.count(3)
    assert receiver.told.count(("response.completed", response_id)) == 2
