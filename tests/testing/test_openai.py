import asyncio
from typing import Any

import httpx
import openai
import pytest

from hostedagent.testing import EventLog, httpx_transport, openai_client, serve
from tests.patience import PATIENCE

from .bare_host import BareHost, body


async def test_the_openai_client_reads_a_response() -> None:
    async with openai_client(BareHost().app) as api:
        response = await api.responses.create(model="m", input="hi")

    assert response.output_text == "Hello"
    assert response.usage is not None
    assert response.usage.total_tokens == 5


async def test_the_openai_client_sees_events_while_the_agent_runs_and_its_close_is_a_disconnect() -> None:
    host = BareHost()
    async with serve(host.app) as client, client.openai() as api:
        stream = await api.responses.create(model="m", input="hi", stream=True, metadata={"mode": "hold"})
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        assert not host.cancelled.is_set()
        await stream.close()
        await asyncio.wait_for(host.cancelled.wait(), PATIENCE)


async def test_the_events_of_the_openai_client_make_a_valid_log() -> None:
    async with openai_client(BareHost().app) as api:
        log = await EventLog.collect(await api.responses.create(model="m", input="hi", stream=True))

    assert log.text == "Hello"


async def test_the_openai_client_finishes_a_background_response() -> None:
    host = BareHost()
    async with openai_client(host.app) as api:
        stream = await api.responses.create(
            model="m", input="hi", background=True, stream=True, metadata={"mode": "hold"}
        )
        created: Any = await anext(aiter(stream))
        host.release.set()
        async for _ in stream:
            pass
        assert (await api.responses.retrieve(created.response.id)).status == "completed"


async def test_an_error_of_the_app_is_the_openai_clients_own_error_and_is_not_retried() -> None:
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            runs.append(scope["path"])
        raise ValueError("boom")

    async with openai_client(app) as api:
        with pytest.raises(openai.InternalServerError):
            await api.responses.create(model="m", input="hi")
    assert runs == ["/responses"]


async def test_any_httpx_client_can_stream_through_the_transport() -> None:
    host = BareHost()
    async with serve(host.app) as client:
        http = httpx.AsyncClient(transport=httpx_transport(client), base_url="http://testserver")
        async with http, http.stream("POST", "/responses", json=body("hold", stream=True)) as response:
            async for line in response.aiter_lines():
                if line == "event: response.output_text.delta":
                    break
            assert not host.release.is_set()
        await asyncio.wait_for(host.cancelled.wait(), PATIENCE)
