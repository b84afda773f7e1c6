import asyncio
import gc
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from hostedagent.testing import EventLog, InProcessClient, serve
from hostedagent.testing.client import Lifespan
from hostedagent.testing.exchange import ServerClosedError
from tests.patience import PATIENCE

from .bare_host import BareHost, body


@pytest.fixture
async def host() -> BareHost:
    return BareHost()


@pytest.fixture
async def client(host: BareHost) -> AsyncIterator[InProcessClient]:
    async with serve(host.app) as client:
        yield client


async def test_a_post_returns_status_headers_and_json(client: InProcessClient) -> None:
    reply = await client.post("/responses", json=body())

    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert [item["type"] for item in reply.json()["output"]] == ["message", "function_call", "reasoning"]


async def test_paths_queries_and_status_codes_arrive_as_on_a_server(client: InProcessClient) -> None:
    stored = (await client.post("/responses", json=body())).json()["id"]

    assert (await client.get(f"/responses/{stored}")).json()["id"] == stored
    assert (await client.get(f"/responses/{stored}/input_items?limit=1")).json()["data"][0]["role"] == "user"
    assert (await client.delete(f"/responses/{stored}")).status == 200
    assert (await client.get(f"/responses/{stored}")).status == 404
    assert (await client.post("/responses", content=b"{", headers={"content-type": "application/json"})).status == 400


async def test_events_arrive_while_the_agent_is_still_running(client: InProcessClient, host: BareHost) -> None:
    async with client.stream("POST", "/responses", json=body("hold", stream=True)) as events:
        delta = await events.until("response.output_text.delta")
        assert delta["delta"] == "Hel"
        assert not host.release.is_set()

        host.release.set()
        log = await events.log()

    assert log.text == "Hello"
    assert log.status == "completed"


async def test_leaving_the_block_disconnects_and_the_handler_is_told(client: InProcessClient, host: BareHost) -> None:
    async with client.stream("POST", "/responses", json=body("hold", stream=True)) as events:
        await events.until("response.output_text.delta")
        assert not host.cancelled.is_set()

    await asyncio.wait_for(host.cancelled.wait(), PATIENCE)
    await client.idle()


async def test_a_cut_off_stream_is_a_valid_beginning_and_no_complete_log(client: InProcessClient) -> None:
    async with client.stream("POST", "/responses", json=body("hold", stream=True)) as events:
        await events.until("response.output_text.delta")

    assert EventLog(events.seen, complete=False).text == "Hel"
    with pytest.raises(AssertionError, match="without a terminal event"):
        EventLog(events.seen)


async def test_a_background_response_runs_on_after_the_post(client: InProcessClient, host: BareHost) -> None:
    started = (await client.post("/responses", json=body("hold", background=True))).json()
    assert started["status"] == "in_progress"

    host.release.set()
    async with client.stream("GET", f"/responses/{started['id']}?stream=true") as events:
        assert events.status == 400  # created without stream=true: nothing to replay
        assert "error" in json.loads(await events.read())


async def test_a_background_stream_can_be_replayed_from_a_cursor(client: InProcessClient, host: BareHost) -> None:
    async with client.stream("POST", "/responses", json=body("hold", background=True, stream=True)) as events:
        created = await anext(events)
        await events.until("response.output_text.delta")
    host.release.set()

    async with client.stream("GET", f"/responses/{created['response']['id']}?stream=true&starting_after=4") as replay:
        rest = [event async for event in replay]

    assert rest[0]["sequence_number"] == 5
    assert EventLog([*events.seen[:5], *rest]).text == "Hello"


async def test_the_lifespan_runs_once_around_the_block_and_shares_its_state() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["greeting"] = "hi"
            await send({"type": "lifespan.startup.complete"})
            seen.append("up")
            assert (await receive())["type"] == "lifespan.shutdown"
            seen.append("down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["state"]["greeting"].encode()})

    async with serve(app) as client:
        assert (await client.get("/")).text == "hi"
        assert seen == ["up"]
    assert seen == ["up", "down"]


async def test_a_failed_startup_is_raised_and_an_app_without_lifespan_is_served() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no key"})

    async def knows_none(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with pytest.raises(RuntimeError, match="startup failed: no key"):
        async with serve(fails):
            pass
    async with serve(knows_none) as client:
        assert (await client.get("/")).status == 204


@pytest.mark.parametrize("message", ["complete", "failed", None])
async def test_a_lifespan_whose_caller_has_left_leaves_nothing(message: str | None) -> None:
    unread: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        if message is None:
            raise ValueError("boom")
        await send({"type": f"lifespan.startup.{message}"})

    starting = asyncio.create_task(Lifespan(app, patience=60).startup())
    await asked.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    del starting
    for _ in range(3):
        await asyncio.sleep(0)  # What the loop still holds.
    gc.collect()

    assert unread == []
    assert [task for task in asyncio.all_tasks() if task.get_name() == "lifespan"] == []


async def test_a_reader_that_does_not_read_makes_the_app_wait() -> None:
    sent: list[int] = []
    finished = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(100):
            await send({"type": "http.response.body", "body": b'data: {"type": "t"}\n\n', "more_body": True})
            sent.append(number)
        await send({"type": "http.response.body"})
        finished.set()

    async with serve(app, queue_limit=4) as client, client.stream("GET", "/") as events:
        await anext(events)
        await anext(events)
        assert len(sent) < 10
        assert len([event async for event in events]) == 98
        assert finished.is_set()


async def test_an_app_that_raises_is_a_500_or_a_broken_stream_and_the_error_is_kept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("boom")

    async with serve(app) as client:
        assert (await client.get("/early")).status == 500
        with pytest.raises(ServerClosedError) as caught:
            await client.get("/late")
        assert isinstance(caught.value.__cause__, ValueError)
        assert [str(error) for error in client.errors] == ["boom", "boom"]


async def test_a_silent_app_is_a_timeout_that_names_the_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.Event().wait()

    async with serve(app, patience=0.05) as client:
        with pytest.raises(TimeoutError, match="GET /slow"):
            await client.get("/slow")


async def test_a_request_body_is_read_while_the_answer_is_written() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["more_body"]:
            data = json.dumps({"type": "echo", "of": message["body"].decode()}).encode()
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})
        await send({"type": "http.response.body"})

    answered = asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        yield b"two"

    async with serve(app) as client, client.stream("POST", "/", content=upload()) as events:
        assert (await anext(events))["of"] == "one"
        answered.set()
        assert (await anext(events))["of"] == "two"
