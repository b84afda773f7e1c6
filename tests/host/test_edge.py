"""What a server decides before the application sees a request: names, heads, time, and how many connections."""

import asyncio
import logging
import resource
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.server import ServerState

from hostedagent import AgentHost, HostOptions
from hostedagent.server import edge, limits
from hostedagent.server.edge import AllowedHosts
from hostedagent.server.limits import ConnectionLimits, RateLimit
from hostedagent.server.uvicorn import configuration
from hostedagent.testing import ScriptedAgent, serve
from tests.host.world import assert_refusal
from tests.patience import PATIENCE
from tests.virtual_time import virtual_time

HEAD = b"POST /responses HTTP/1.1\r\n"
BODY = b'content-type: application/json\r\ncontent-length: 15\r\n\r\n{"input": "hi"}'


@asynccontextmanager
async def listening(app: Any, given: ConnectionLimits | None = None) -> AsyncGenerator[tuple[str, int]]:
    """Serve an application on a socket, as `AgentHost.run` does."""
    config = configuration(app, given or ConnectionLimits(), None)
    config.load()
    protocol: Any = config.http_protocol_class
    shared = ServerState()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: protocol(config, shared, {}), "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


async def answered(address: tuple[str, int], *pieces: bytes) -> bytes:
    """Everything that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body and answers nothing to a client that is gone."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"ok"})


def do_nothing(*_: object, **__: object) -> None:
    """In place of serving."""


@asynccontextmanager
async def bound(address: str, allowed: Sequence[str] = ()) -> AsyncGenerator[tuple[str, int]]:
    """A host that believes to listen on an address."""
    host = AgentHost(
        ScriptedAgent(*[["ok"]] * 9), options=HostOptions(allowed_hosts=frozenset(allowed)), prefix="/agents/one"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostedagent.host.serve", do_nothing)
        host.run(host=address)
    async with serve(host.app), listening(host.app) as where:
        yield where


async def status(address: tuple[str, int], *headers: str, path: str = "/agents/one/responses") -> int:
    lines = "".join(f"{line}\r\n" for line in (*headers, "connection: close"))
    head = f"POST {path} HTTP/1.1\r\n{lines}".encode("latin-1")
    return int((await answered(address, head + BODY)).split(b" ")[1])


LOOPBACK = ["127.0.0.1", "localhost", "::1", "127.9.8.7"]


@pytest.mark.parametrize("address", LOOPBACK)
@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8088", "127.0.0.1:8088", "[::1]:8088", "agent.localhost", "127.1.2.3", "localhost."],
)
def test_a_server_on_loopback_serves_loopback_names(address: str, host: str) -> None:
    allowed = AllowedHosts()
    allowed.bind(address)
    allowed.check([(b"Host", host.encode()), (b"Origin", f"http://{host}".encode())])


@pytest.mark.parametrize("address", LOOPBACK)
@pytest.mark.parametrize(
    "host",
    ["attacker.example", "127.0.0.1.attacker.example", "localhost.attacker.example", "attacker.example:8088", "",
     "localhost@attacker.example", "attacker.example#localhost", "[::1].attacker.example", "10.0.0.1", "0.0.0.0",
     "localhost:x", "notlocalhost", "2130706433"],
)  # fmt: skip
def test_a_server_on_loopback_serves_no_other_name(address: str, host: str) -> None:
    allowed = AllowedHosts()
    allowed.bind(address)

    with pytest.raises(edge.Forbidden):
        allowed.check([(b"host", host.encode())])
    with pytest.raises(edge.Forbidden):
        allowed.check([(b"host", b"localhost"), (b"origin", f"http://{host}".encode())])


async def test_the_names_of_a_server_on_loopback_are_checked_on_every_route() -> None:
    async with bound("127.0.0.1", ["friend.example", "*.friends.example"]) as address:
        assert await status(address, "host: localhost") == 200
        assert await status(address, "host: friend.example", "origin: https://a.friends.example") == 200
        assert await status(address, "host: attacker.example") == 403
        assert await status(address, "host: localhost", "origin: http://attacker.example") == 403
        assert await status(address, "host: localhost", "origin: null") == 403
        assert await status(address, "host: friends.example") == 403
        assert await status(address, "host: attacker.example", path="/anything") == 403


async def test_a_server_for_others_checks_names_only_where_some_are_given() -> None:
    async with bound("0.0.0.0") as address:
        assert await status(address, "host: anything.example", "origin: https://anything.example") == 200
    async with bound("0.0.0.0", ["mine.example"]) as address:
        assert await status(address, "host: mine.example") == 200
        assert await status(address, "host: anything.example") == 403
        assert await status(address, "host: anything.example", path=edge.PROBE) == 405
    async with bound("127.0.0.1", ["*"]) as address:
        assert await status(address, "host: anything.example") == 200


async def test_the_path_of_responses_may_end_with_a_slash() -> None:
    async with bound("127.0.0.1") as address:
        assert await status(address, "host: localhost", path="/agents/one/responses/") == 200
        assert await status(address, "host: localhost", path="/agents/one/responses/resp_1/") == 405


@pytest.mark.parametrize("value", ["caresp_\x01", "caresp_\xe9", "caresp_a b", "c" * 300, "\x7f"])
async def test_a_response_id_of_other_characters_is_refused(value: str) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"input": "hi"}'}

    host = AgentHost(ScriptedAgent(["ok"]))
    headers = [(b"x-agent-response-id", value.encode("latin-1")), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/responses", "raw_path": b"/responses", "query_string": b""}
    async with serve(host.app):
        await host.app({**scope, "headers": headers, "asgi": {"version": "3.0"}}, receive, send)

    assert sent[0]["status"] == 400


@pytest.mark.parametrize("value", ["a\r\nx: y", "\x00", "\x7f", "\u4f60\u597d", "caf\xe9", "a" * 257, 7, ["a"], {}])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_id_that_no_header_can_carry_is_refused(value: Any, stream: bool) -> None:
    async with serve(AgentHost(ScriptedAgent(["ok"])).app) as client:
        reply = await client.post("/responses", json={"input": "hi", "agent_session_id": value, "stream": stream})

    assert_refusal(reply, 400)


@pytest.mark.parametrize(
    "hosts", [b"", b"host: a\r\nhost: b\r\n", b"host: a\r\nHost: a\r\n"], ids=["none", "two", "the same twice"]
)
async def test_a_request_has_exactly_one_host(hosts: bytes) -> None:
    async with listening(silent) as address:
        reply = await answered(address, HEAD + hosts + BODY)

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"exactly one Host" in reply


async def test_a_request_of_http_1_0_needs_no_host() -> None:
    async with listening(silent) as address:
        assert (await answered(address, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([], b""),
        ([b"POST / HT"], b"HTTP/1.1 408 "),
        ([b"POST / HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n"], b"HTTP/1.1 408 "),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"], b"HTTP/1.1 408 "),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"], b"HTTP/1.1 408 "),
        ([b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET"], b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half a line", "half a head", "no body", "half a body", "half a second request"],
)
@virtual_time
async def test_a_request_that_does_not_arrive_in_time_is_given_up(pieces: Sequence[bytes], status: bytes) -> None:
    async with listening(silent, ConnectionLimits(head_timeout=20, body_timeout=20)) as address:
        assert (await answered(address, *pieces)).startswith(status)


@virtual_time
async def test_a_body_has_its_own_time() -> None:
    arrived = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await silent(scope, receive, send)

    async with listening(app, ConnectionLimits(head_timeout=20, body_timeout=3600)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
        await arrived.wait()
        assert await answered(address) == b""  # By now a head that came with the first byte would be too late.
        writer.write(b"b")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_one_connection_too_many_is_refused_and_the_next_is_served_when_one_ends() -> None:
    arrived, gone = asyncio.Semaphore(0), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        arrived.release()
        await silent(scope, receive, send)
        gone.set()

    async with listening(app, ConnectionLimits(max_connections=2)) as address:
        held: list[asyncio.StreamWriter] = []
        for _ in range(2):
            held.append((await asyncio.open_connection(*address))[1])
            held[-1].write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
            await arrived.acquire()

        refused = await answered(address)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in refused

        held[0].close()
        await gone.wait()
        assert (await answered(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        held[1].close()


async def kept(address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has had its answer, and waits for a next request."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    return reader, writer


async def brief(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers without a body and keeps the connection."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("seconds", [5.5, 60.5], ids=["openai", "nginx"])
@virtual_time
async def test_the_server_keeps_a_connection_longer_than_its_clients_do(seconds: float) -> None:
    async with listening(brief) as address:
        reader, writer = await kept(address)
        await asyncio.sleep(seconds)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")

        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.close()


async def test_a_connection_that_only_waits_for_a_next_request_gives_way_to_a_new_one() -> None:
    async with listening(brief, ConnectionLimits(max_connections=2)) as address:
        held = [await kept(address) for _ in range(2)]
        new = await kept(address)
        async with asyncio.timeout(PATIENCE):
            done, waiting = await asyncio.wait(
                [asyncio.ensure_future(reader.read()) for reader, _ in held], return_when=asyncio.FIRST_COMPLETED
            )
        assert (len(done), len(waiting)) == (1, 1)
        for _, writer in (*held, new):
            writer.close()


def test_there_are_never_more_connections_than_descriptors() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ConnectionLimits().connections()

    assert most <= max(limits.raise_descriptors() - 384, 16)
    assert ConnectionLimits(max_connections=10**9).connections() == most
    assert ConnectionLimits(max_connections=1).connections() == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft


def test_the_limits_are_what_the_documentation_says() -> None:
    options = HostOptions()

    assert (options.head_timeout, options.body_timeout, options.max_connections) == (20.0, 120.0, None)
    assert options.allowed_hosts == frozenset()


def test_a_log_line_that_outsiders_cause_is_rate_limited_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("hostedagent.server.limits.time.monotonic", lambda: now)
    limit = RateLimit()

    def logged(message: str) -> str | None:
        record = logging.LogRecord("x", logging.WARNING, "", 0, message, (), None)
        return record.getMessage() if limit.filter(record) else None

    assert [logged("a") for _ in range(100)] == ["a"] * 5 + [None] * 95
    assert logged("b") == "b"
    now = 60.0
    assert logged("a") == "a (95 lines like this were not logged in the minute before.)"
