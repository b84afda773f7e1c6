"""A host whose agent's model is the fake upstream, and the OpenAI client of its caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

import openai
from agent_framework import Agent, tool
from tests.serving import served
from upstream import Reply, Text, Upstream, anthropic_client, chat_completion_client, responses_client

from hostedagent import HostOptions
from hostedagent.options import OwnTools
from hostedagent.testing import EventLog, InProcessClient

Connect = Callable[[Upstream], Any]
CLIENTS: dict[str, Connect] = {
    "responses": responses_client,
    "chat": chat_completion_client,
    "anthropic": anthropic_client,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

Way = Literal["previous_response_id", "conversation", "stateless"]
"""How a caller continues its conversation."""


@tool
def weather(city: Annotated[str, "Name of the city"]) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@dataclass(slots=True)
class Hosted:
    """One caller of one host. `ask` streams the turn that follows the one before."""

    upstream: Upstream
    client: InProcessClient
    api: openai.AsyncOpenAI
    last: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def script(self, *replies: Any) -> None:
        """What the model answers next."""
        self.upstream.script(*replies)

    async def ask(self, given: Any, **body: Any) -> EventLog:
        """One checked turn; the terminal response is the one that `then` continues."""
        stream = await self.api.responses.create(model="any", input=given, stream=True, **body)
        log = await EventLog.collect(stream)
        self.last = log.response
        return log

    async def then(self, given: Any, **body: Any) -> EventLog:
        """The next turn of the same conversation, by `previous_response_id`."""
        return await self.ask(given, previous_response_id=self.last["id"], **body)

    async def stored(self) -> Mapping[str, Any]:
        """The last response as GET tells it."""
        reply = await self.client.get(f"/responses/{self.last['id']}")
        assert reply.status == 200
        return cast("Mapping[str, Any]", reply.json())

    @property
    def asked(self) -> list[str]:
        """The transcript of the newest model call."""
        return self.upstream.transcripts[-1]

    @property
    def sent(self) -> list[Any]:
        """The conversation of the newest model call, as the provider got it."""
        body = self.upstream.requests[-1]
        return cast("list[Any]", body["input"] if "input" in body else body["messages"])

    def sent_of(self, kind: str) -> list[Any]:
        """The input items of a type in the newest model call."""
        return [item for item in self.sent if item.get("type") == kind]


@asynccontextmanager
async def hosting(
    connect: Connect = responses_client,
    *,
    tools: Sequence[Any] = (weather,),
    own_tools: OwnTools = "mcp_call",
    host_options: HostOptions | None = None,
    **options: Any,
) -> AsyncGenerator[Hosted]:
    """Run an upstream, an agent on it, its host and a caller."""
    async with Upstream() as upstream:
        host_options = host_options or HostOptions(own_tools=own_tools)
        agent: Any = Agent(client=connect(upstream), tools=[*tools], default_options=cast("Any", options))
        async with served(agent, options=host_options) as client, client.openai() as api:
            yield Hosted(upstream, client, api)


async def follow(host: Hosted, way: Way, replies: tuple[Reply, ...]) -> list[str]:
    """Play one turn and the one after it; tells what the caller saw of the first."""
    host.script(*replies, Text("Next."))
    if way == "stateless":
        log = await host.ask("Hi", store=False)
        await host.ask([_user("Hi"), *log.items, _user("And?")], store=False)
    elif way == "conversation":
        log = await host.ask("Hi", conversation="conv_1")
        await host.ask("And?", conversation="conv_1")
    else:
        log = await host.ask("Hi")
        assert (await host.stored())["output"] == log.response["output"] == log.items
        await host.then("And?")
    return outline(log)


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def outline(log: EventLog) -> list[str]:
    """The finished items and the end of a turn, one short line each."""
    lines = [line.partition(" ")[2] for line in log.lines()]
    return [line.removeprefix("item- ") for line in lines if line.startswith("item- ")] + lines[-1:]


def joined(log: EventLog) -> list[str]:
    """The lines of a log in which adjacent deltas are one: how many came at once is the network's doing."""
    events: list[dict[str, Any]] = []
    for event in log.events:
        last = events[-1] if events else {}
        if event["type"].endswith(".delta") and _lane(event) == _lane(last):
            events[-1] = {**last, "delta": last["delta"] + event["delta"]}
        else:
            events.append({**event, "sequence_number": len(events)})
    return EventLog(events).lines()


def _lane(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(event.get(name) for name in ("type", "item_id", "content_index", "summary_index"))
