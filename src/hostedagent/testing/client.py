"""An in-process client for any ASGI app: the app's lifespan, plain requests, and live event streams. No sockets.

`httpx.ASGITransport` collects the whole body before it returns, so it can show neither what a client sees *while* an
agent is running nor what happens when a client leaves. This client can.

Example:
    ```python
    async with serve(app) as client:
        reply = await client.post("/responses", json={"input": "hi", "model": "m"})
        async with client.stream("POST", "/responses", json={..., "stream": True}) as events:
            first = await anext(events)  # the app has gone no further than a few events
        # leaving the block hung up
    ```
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from hostedagent.protocol.sse import FrameReader

from .events import event_of
from .exchange import QUEUE_LIMIT, ASGIApp, Exchange, HeaderPairs

if TYPE_CHECKING:
    import openai

    from .events import EventLog

Body = bytes | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower case; a repeated header is joined with `", "`."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON; raises `ValueError` if it is not JSON."""
        return jsonlib.loads(self.body)

    def log(self) -> EventLog:
        """The body as a checked event log (of a streamed response, read to the end)."""
        from .events import EventLog

        return EventLog.from_sse(self.body)


class EventStream:
    """A streamed answer: iterate to get each event (a dict) as soon as the app has sent it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._chunks = exchange.chunks()
        self._frames = FrameReader()
        self._ready: list[dict[str, Any]] = []
        self.status = exchange.status
        self.headers = joined_headers(exchange.raw_headers)
        self.seen: list[dict[str, Any]] = []
        """The events iterated so far."""
        self.comments: list[str] = []
        """The comment lines so far, such as `keep-alive`."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._ready:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                if self._frames.unfinished:
                    raise AssertionError(f"the stream ended inside a frame: {self._frames.unfinished!r}")
                raise StopAsyncIteration
            for frame in self._frames.feed(chunk):
                if frame.comment is not None:
                    self.comments.append(frame.comment)
                elif frame.data != "[DONE]":
                    self._ready.append(event_of(frame))
        event = self._ready.pop(0)
        self.seen.append(event)
        return event

    async def until(self, event_type: str) -> dict[str, Any]:
        """Read on to the next event of a type.

        Raises:
            AssertionError: the stream ended before.
        """
        async for event in self:
            if event.get("type") == event_type:
                return event
        raise AssertionError(f"no {event_type!r} came; the stream was {[event.get('type') for event in self.seen]}")

    async def log(self) -> EventLog:
        """Read to the end and check everything seen."""
        from .events import EventLog

        async for _ in self:
            pass
        return EventLog(self.seen)

    async def read(self) -> bytes:
        """The raw rest of the body, for a response that is not an event stream, such as an error."""
        return b"".join([chunk async for chunk in self._chunks])

    def disconnect(self) -> None:
        """Hang up now; leaving the `async with` block does the same."""
        self._exchange.disconnect()

    async def app_returned(self) -> None:
        """Wait until the app has finished with this request, for example after a disconnect."""
        await asyncio.wait([self._exchange.task])


class InProcessClient:
    """Speaks HTTP to an ASGI app in this process. Made by `serve`.

    An app that raises is a status 500 or a broken stream, as over a network; what it raised is kept in `errors`.
    `patience` is the number of seconds the app may stay silent before a `TimeoutError`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: Mapping[str, str] | None = None,
        state: dict[str, Any] | None = None,
        patience: float = 60.0,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._app = app
        self._state = state if state is not None else {}
        self._patience = patience
        self._queue_limit = queue_limit
        self._running: set[asyncio.Task[None]] = set()
        self.headers = dict(headers or {})
        self.errors: list[Exception] = []
        """The exceptions that the app raised, in order."""

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """GET."""
        return await self.request("GET", url, headers=headers)

    async def delete(self, url: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """DELETE."""
        return await self.request("DELETE", url, headers=headers)

    async def post(
        self, url: str, *, json: object = None, content: Body = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST with a JSON body, or with `content` as it is."""
        return await self.request("POST", url, json=json, content=content, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        content: Body = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and read the whole answer. `url` is a path, with a query if you like."""
        exchange = self.send(method, url, *self._body(json, content, headers))
        try:
            await exchange.start()
            body = b"".join([chunk async for chunk in exchange.chunks()])
        finally:
            exchange.disconnect()
        return Reply(exchange.status, joined_headers(exchange.raw_headers), body)

    @asynccontextmanager
    async def stream(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        json: object = None,
        content: Body = b"",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[EventStream]:
        """Send a request and read its events while the app is sending them; hangs up at the end of the block."""
        exchange = self.send(method, url, *self._body(json, content, headers))
        try:
            await exchange.start()
            yield EventStream(exchange)
        finally:
            exchange.disconnect()

    def openai(self, **options: Any) -> openai.AsyncOpenAI:
        """An `openai.AsyncOpenAI` that talks to this app; see `openai_client` for the options."""
        from .openai import make_openai_client

        return make_openai_client(self, **options)

    async def idle(self) -> None:
        """Wait until the app has returned from every request, disconnected ones included.

        Raises:
            TimeoutError: some request is still running when the client's patience is at its end.
        """
        async with asyncio.timeout(self._patience):
            while self._running:
                await asyncio.wait(set(self._running))

    def send(self, method: str, url: str, body: Body, headers: HeaderPairs) -> Exchange:
        """Start an exchange: the level below the other methods, for transports of other clients."""
        path, _, query = url.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": list(headers),
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "state": self._state.copy(),
            "extensions": {},
        }
        exchange = Exchange(
            self._app, scope, body, patience=self._patience, limit=self._queue_limit, errors=self.errors
        )
        self._running.add(exchange.task)
        exchange.task.add_done_callback(self._running.discard)
        return exchange

    async def aclose(self, *, grace: float = 0.0) -> None:
        """Give running requests `grace` seconds to end, then cancel them."""
        if self._running and grace:
            await asyncio.wait(set(self._running), timeout=grace)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=self._patience)

    def _body(
        self, json: object, content: Body, headers: Mapping[str, str] | None
    ) -> tuple[Body, list[tuple[bytes, bytes]]]:
        merged = {"host": "testserver"}
        merged.update((name.lower(), value) for name, value in self.headers.items())
        if json is not None:
            content = jsonlib.dumps(json).encode()
            merged["content-type"] = "application/json"
        if isinstance(content, bytes):
            merged["content-length"] = str(len(content))
        merged.update((name.lower(), value) for name, value in (headers or {}).items())
        return content, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in merged.items()]


@asynccontextmanager
async def serve(
    app: ASGIApp,
    *,
    headers: Mapping[str, str] | None = None,
    patience: float = 60.0,
    queue_limit: int = QUEUE_LIMIT,
    grace: float = 0.0,
) -> AsyncGenerator[InProcessClient]:
    """Run an app's lifespan around a block and give the block a client for it.

    Args:
        app: any ASGI 3 app; one that knows no lifespan is served without it.
        headers: sent with every request.
        patience: seconds the app may stay silent before a `TimeoutError`.
        queue_limit: messages the app may be ahead of a streaming reader.
        grace: seconds that running requests get at the end, before they are cancelled.

    Raises:
        RuntimeError: the app reported that its startup or shutdown failed.
    """
    lifespan = Lifespan(app, patience=patience)
    await lifespan.startup()
    client = InProcessClient(app, headers=headers, state=lifespan.state, patience=patience, queue_limit=queue_limit)
    try:
        yield client
    finally:
        try:
            await client.aclose(grace=grace)
        finally:
            await lifespan.shutdown()


def joined_headers(pairs: HeaderPairs) -> dict[str, str]:
    """Header pairs as a mapping; a repeated header is joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


Phase = Literal["startup", "shutdown"]


class Lifespan:
    """Starts and stops an app. An app that raises on the lifespan scope is one that has none (ASGI specification)."""

    def __init__(self, app: ASGIApp, *, patience: float) -> None:
        self._app = app
        self._patience = patience
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outcome: dict[str, asyncio.Future[str | None]] = {}  # Why the phase failed.
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Run the startup.

        Raises:
            RuntimeError: the app reported a failure.
            TimeoutError: the app did not answer.
        """
        self._task = asyncio.create_task(self._run(), name="lifespan")
        self._task.add_done_callback(_mark_read)
        try:
            await self._ask("startup")
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise

    async def shutdown(self) -> None:
        """Run the shutdown, if the app has a lifespan."""
        if self._task is None:
            return
        try:
            if not self._task.done():
                await self._ask("shutdown")
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self, phase: Phase) -> None:
        assert self._task is not None
        outcome = self._outcome[phase] = asyncio.get_running_loop().create_future()
        await self._inbox.put({"type": f"lifespan.{phase}"})
        done, _ = await asyncio.wait((outcome, self._task), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._task.cancel()
            raise TimeoutError(f"the app did not finish its {phase} in {self._patience:g} s")
        if outcome.done():
            if (failure := outcome.result()) is not None:
                raise RuntimeError(failure)
        elif phase == "shutdown" and not self._task.cancelled() and (error := self._task.exception()):
            raise RuntimeError("the app raised in its shutdown") from error

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._inbox.get, self._send)

    async def _send(self, message: Any) -> None:
        _, phase, verdict = str(message["type"]).split(".")
        outcome = self._outcome.get(phase)
        if outcome is None or outcome.done():
            return
        if verdict == "complete":
            outcome.set_result(None)
        else:
            outcome.set_result(f"the app's {phase} failed: {message.get('message', '')}")


def _mark_read(task: asyncio.Task[None]) -> None:
    """The error of an app without a lifespan is read, even if its caller has been cancelled."""
    if not task.cancelled():
        task.exception()
