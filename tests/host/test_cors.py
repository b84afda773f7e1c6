"""Pages of other origins: what a browser is told before it sends, and with the answer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.errors import ConfigurationError
from hostedagent.host import Driver
from hostedagent.testing import InProcessClient, ScriptedAgent, serve

PAGE = "https://app.example.com"


@pytest.fixture(params=["agentserver", "starlette"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return request.param


def do_nothing(*_: Any, **__: Any) -> None:
    """In place of serving."""


@asynccontextmanager
async def hosting(driver: Driver, *cors: str, **options: Any) -> AsyncGenerator[InProcessClient]:
    """A host that believes to listen on this machine alone, and so checks names."""
    host = AgentHost(
        ScriptedAgent(["Hello."], ["Again."]), driver=driver, options=HostOptions(cors=frozenset(cors), **options)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostedagent.host.serve", do_nothing)
        host.run(host="127.0.0.1")
    async with serve(host.app) as client:
        yield client


def preflight(origin: str) -> dict[str, str]:
    return {
        "host": "localhost",
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


@pytest.mark.parametrize("path", ["/responses", "/v1/responses"])
async def test_a_page_of_a_named_origin_asks_and_reads(driver: Driver, path: str) -> None:
    async with hosting(driver, PAGE) as client:
        asked = await client.request("OPTIONS", path, headers=preflight(PAGE))
        reply = await client.post(path, json={"input": "hi"}, headers={"host": "localhost", "origin": PAGE})

    assert asked.status == 200 and asked.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert reply.status == 200 and reply.headers["access-control-allow-origin"] == PAGE
    assert "x-request-id" in reply.headers["access-control-expose-headers"]


async def test_a_page_reads_why_it_was_refused(driver: Driver) -> None:
    async with hosting(driver, PAGE) as client:
        reply = await client.post("/responses", json={}, headers={"host": "localhost", "origin": PAGE})

    assert reply.status == 400 and reply.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.com.evil.example", "null"])
async def test_a_page_of_another_origin_is_refused(driver: Driver, origin: str) -> None:
    async with hosting(driver, PAGE) as client:
        asked = await client.request("OPTIONS", "/responses", headers=preflight(origin))
        reply = await client.post("/responses", json={"input": "hi"}, headers={"host": "localhost", "origin": origin})

    assert (asked.status, reply.status) == (403, 403)
    assert "access-control-allow-origin" not in asked.headers


async def test_every_origin_may_be_named_and_cookies_are_left_out_then(driver: Driver) -> None:
    async with hosting(driver, "*") as client:
        asked = await client.request("OPTIONS", "/responses", headers=preflight("https://any.example"))
        rebound = await client.post("/responses", json={"input": "hi"}, headers={"host": "evil.example"})

    assert asked.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in asked.headers
    assert rebound.status == 403


async def test_without_origins_nothing_is_answered_for_pages(driver: Driver) -> None:
    async with hosting(driver) as client:
        asked = await client.request("OPTIONS", "/responses", headers=preflight("http://localhost:3000"))

    assert asked.status == 405 and "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", ""])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="cors"):
        HostOptions(cors=frozenset({origin}))


def test_one_text_is_not_a_set_of_origins() -> None:
    with pytest.raises(ConfigurationError, match="cors is a set"):
        HostOptions(cors=PAGE)  # pyright: ignore[reportArgumentType]


def test_the_command_line_names_origins(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hostedagent.cli import main

    (tmp_path / "agent.py").write_text("from hostedagent.testing import ScriptedAgent\nagent = ScriptedAgent(['x'])\n")
    monkeypatch.chdir(tmp_path)
    served: list[AgentHost] = []

    def run(self: AgentHost, **_: Any) -> None:
        served.append(self)

    monkeypatch.setattr(AgentHost, "run", run)
    monkeypatch.setattr("hostedagent.cli.run._watch", do_nothing)
    main(["run", "agent.py", "--port", "0", "--cors", PAGE, "--cors", "http://localhost:3000", "--no-page"])

    assert [host.options.cors for host in served] == [{PAGE, "http://localhost:3000"}]
