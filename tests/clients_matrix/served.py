"""Serves one host for each case on a single free port, each below a path of its own, with a model that is scripted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import uvicorn
from agent_framework import Content
from agent_framework.exceptions import UserInputRequiredException

from hostedagent import AgentHost, HostOptions
from hostedagent.server.serve import listening
from hostedagent.testing import serve as running
from tests.clients.upstream import Upstream

from .desk import workflow
from .features import FEATURES, LINK, Feature, Observed, agent

_PLATFORM: Final = re.compile(r"^/api/projects/[^/]+/agents/[^/]+/endpoint/protocols/openai(?:/v1)?")
"""What the platform's gateway takes off the path before a container gets the request."""


@asynccontextmanager
async def serving(
    cases: Sequence[tuple[str, str]], options: HostOptions
) -> AsyncGenerator[tuple[str, dict[Any, Observed]]]:
    """Serve a host for each pair of feature and mode; gives the base URL and what each host sees."""
    async with AsyncExitStack() as stack:
        observed: dict[Any, Observed] = {}
        apps: dict[str, Any] = {}
        for feature, mode in cases:
            upstream = await stack.enter_async_context(Upstream(raises_at_exit=False))
            upstream.script(*FEATURES[feature].script)
            observed[feature, mode] = Observed(upstream)
            app = _app(FEATURES[feature], observed[feature, mode], options)
            await stack.enter_async_context(running(app))
            apps[path(feature, mode)] = app
        url = await stack.enter_async_context(_listening(_Router(apps)))
        yield url, observed


def _app(feature: Feature, observed: Observed, options: HostOptions) -> Any:
    if feature.is_workflow:
        return AgentHost(lambda: workflow(agent(observed)), options=options).app
    if not feature.asks_for_consent:
        return AgentHost(agent(observed, keeps_rules=feature.keeps_rules), options=options).app
    asked: list[str] = []

    def create() -> Any:
        if not asked:
            asked.append(LINK)
            request = Content.from_oauth_consent_request(LINK, additional_properties={"server_label": "mail"})
            raise UserInputRequiredException(contents=[request])
        return agent(observed)

    options = replace(options, consent_origins=frozenset({"https://login.example"}), **feature.options)
    return AgentHost(create, options=options).app


def path(feature: str, mode: str) -> str:
    """The path below which the host of a case is served."""
    return f"/{feature}-{mode}"


class _Router:
    """Sends a request to the host that the first segment of its path names."""

    def __init__(self, apps: Mapping[str, Any]) -> None:
        self._apps = apps

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        first, slash, rest = scope["path"][1:].partition("/")
        inner = _PLATFORM.sub("", slash + rest)
        await self._apps[f"/{first}"]({**scope, "path": inner, "raw_path": inner.encode()}, receive, send)


class _Server(uvicorn.Server):
    """A server that does not touch the signal handlers of the process."""

    @contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def _listening(app: Any) -> AsyncGenerator[str]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    server = _Server(config)
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.force_exit = server.should_exit = True
            with suppress(asyncio.CancelledError):
                await task
