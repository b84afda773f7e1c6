"""The official OpenAI client, wired to an app in this process: streams live, disconnects for real, no sockets.

`openai` moved from `httpx` to `httpx2`; the transport is made for whichever library the installed one is built on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .client import InProcessClient, serve
from .exchange import ASGIApp, Exchange

if TYPE_CHECKING:
    import openai

BASE_URL = "http://testserver"


@asynccontextmanager
async def openai_client(app: ASGIApp, **options: Any) -> AsyncGenerator[openai.AsyncOpenAI]:
    """Serve an app for a block and give the block an OpenAI client for it.

    Args:
        app: an ASGI app with `POST /responses`.
        options: for `openai.AsyncOpenAI`, such as `default_headers`; `max_retries` is 0 unless given, because a retry
            would run the agent again behind the test's back. `base_url` takes a prefix: `http://testserver/v1`.

    Raises:
        ModuleNotFoundError: the package `openai` is not installed.
    """
    async with serve(app) as client, client.openai(**options) as api:
        yield api


def make_openai_client(client: InProcessClient, **options: Any) -> openai.AsyncOpenAI:
    """An OpenAI client on an in-process client (`client.openai()`)."""
    import openai

    library = _http_library(openai.DefaultAsyncHttpxClient)
    http_client = library.AsyncClient(transport=httpx_transport(client, library=library))
    defaults: dict[str, Any] = {"api_key": "test", "base_url": BASE_URL, "max_retries": 0}
    return openai.AsyncOpenAI(http_client=http_client, **{**defaults, **options})


def httpx_transport(client: InProcessClient, *, library: ModuleType | None = None) -> Any:
    """A transport for `httpx.AsyncClient(transport=...)` that talks to the client's app and streams live.

    Args:
        client: from `serve(app)`.
        library: the module to make it for: `httpx` (the default) or `httpx2`.
    """
    http: Any = library or import_module("httpx")

    class LiveStream(http.AsyncByteStream):
        def __init__(self, exchange: Exchange) -> None:
            self._exchange = exchange

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self._exchange.chunks():
                    yield chunk
            except ConnectionError as error:
                raise http.RemoteProtocolError(str(error)) from error
            except TimeoutError as error:
                raise http.ReadTimeout(str(error)) from error

        async def aclose(self) -> None:
            self._exchange.disconnect()

    class InProcessTransport(http.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any:
            url = urlsplit(str(request.url))
            target = f"{url.path}?{url.query}" if url.query else url.path
            headers = [(name.lower(), value) for name, value in request.headers.raw]
            exchange = client.send(request.method, target, request.stream, headers)
            try:
                await exchange.start()
            except BaseException:
                exchange.disconnect()
                raise
            return http.Response(exchange.status, headers=exchange.raw_headers, stream=LiveStream(exchange))

    return InProcessTransport()


def _http_library(http_client: type) -> ModuleType:
    """The library that the installed `openai` is built on: the package its public client class comes from."""
    packages = [base.__module__.partition(".")[0] for base in http_client.__mro__]
    return import_module(next(name for name in packages if name.startswith("httpx")))
