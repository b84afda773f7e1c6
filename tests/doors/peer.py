"""Serves requests with the peer's `InvocationsHostServer`, in an interpreter that has it and not our package.

Reads the requests to an agent and those to a workflow from its standard input as JSON, and writes the answers to its
standard output.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_framework import (
    AgentResponse,
    AgentResponseUpdate,
    BaseAgent,
    Content,
    Executor,
    ResponseStream,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
)


class Counting(BaseAgent):
    """Says what it was told and how often in this session, in two pieces; fails, or waits, when it is told to."""

    def __init__(self) -> None:
        super().__init__(name="counting")
        self.waits, self.goes_on = asyncio.Event(), asyncio.Event()

    def run(self, messages: Any = None, *, stream: bool = False, session: Any = None, options: Any = None) -> Any:
        """Run once."""
        updates = ResponseStream(self._updates(messages, session, options), finalizer=AgentResponse.from_updates)
        return updates if stream else updates.get_final_response()

    async def _updates(self, messages: Any, session: Any, options: Any) -> AsyncIterator[AgentResponseUpdate]:
        last = messages if isinstance(messages, str) else messages[-1]
        told = last if isinstance(last, str) else last.text
        session.state["times"] = times = session.state.get("times", 0) + 1
        yield self._update(f"{told} ")
        if told == "fail":
            raise RuntimeError("secret")
        if told == "wait":
            self.waits.set()
            await self.goes_on.wait()
        yield self._update(f"{times} {dict(options or {}).get('max_tokens')}")

    @staticmethod
    def _update(text: str) -> AgentResponseUpdate:
        return AgentResponseUpdate(contents=[Content.from_text(text)], role="assistant", message_id="m1")


@dataclass
class Ticket:
    """What the workflow starts with."""

    title: str
    questions: int


class Review(Executor):
    """Says what it has seen, asks as many questions as it is told, and says what came of each."""

    @handler
    async def start(self, ticket: Ticket, ctx: WorkflowContext[Any, Any]) -> None:
        """Begin with a ticket."""
        if ticket.title == "fail":
            raise RuntimeError("secret")
        await ctx.yield_output({"seen": ticket.title})
        for number in range(ticket.questions):
            await ctx.request_info(f"Approve {number}?", bool)

    @response_handler
    async def decided(self, original_request: str, response: bool, ctx: WorkflowContext[Any, Any]) -> None:
        """Go on with an answer."""
        await ctx.yield_output({"asked": original_request, "approved": response})


def build(request: Any = None) -> Any:
    """The workflow, new for each request."""
    return WorkflowBuilder(start_executor=Review(id="review"), name="tickets").build()


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, dict[str, str], bytes]]]


Answer = Mapping[str, Any]


async def play(requests: Sequence[Mapping[str, Any]], send: Send) -> list[Answer]:
    """Send requests one after the other, and note status, headers and body of each answer.

    A request may answer the questions of an earlier one, by their numbers: `answers` has the reply to each.
    """
    answers: list[Answer] = []
    for request in requests:
        body = dict(request.get("body", {}))
        if "answers" in request:
            asked = [name for answer in answers for name in questions_in(answer)]
            body["responses"] = {asked[int(number)]: reply for number, reply in request["answers"].items()}
        answers.append(await _sent(request, body, send))
    return answers


async def play_twice(request: Mapping[str, Any], send: Send, agent: Counting, *, waits: bool) -> list[Answer]:
    """Send a request again while it runs, and return both answers, that of the first one first.

    Args:
        request: The request, which makes the agent wait.
        send: Sends it.
        agent: The agent.
        waits: Whether the second one is answered only after the first.
    """
    first = asyncio.create_task(_sent(request, request["body"], send))
    await agent.waits.wait()
    second = asyncio.create_task(_sent(request, request["body"], send))
    if not waits:
        await asyncio.wait({second})
    agent.goes_on.set()
    return [await first, await second]


async def _sent(request: Mapping[str, Any], body: Mapping[str, Any], send: Send) -> Answer:
    raw = request.get("raw")
    content = raw.encode() if raw is not None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **request.get("headers", {})}
    status, given, data = await send(request.get("method", "POST"), request["path"], headers, content)
    return {"status": status, "headers": given, "body": data.decode()}


def rows_of(answer: Answer) -> list[Any]:
    """The events of an answer, each with its `type`; of a whole one, its frames."""
    if answer["headers"]["content-type"].startswith("text/event-stream"):
        blocks = [block.split("\n") for block in answer["body"].strip().split("\n\n")]
        return [{"type": kind[7:], **json.loads(data[6:])} for kind, data in blocks]
    body: dict[str, Any] = json.loads(answer["body"])
    return body.get("output", [])


def questions_in(answer: Answer) -> list[str]:
    """The ids of the questions of a workflow."""
    return [row["request_id"] for row in rows_of(answer) if row["type"] == "request_info"]


def _sending(app: Any) -> Any:
    import httpx

    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://peer")

    async def send(
        method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        reply = await client.request(method, path, headers=dict(headers), content=body)
        return reply.status_code, dict(reply.headers), reply.content

    return send


async def _main() -> None:
    hosting: Any = importlib.import_module("agent_framework_foundry_hosting")

    async def parse(request: Any) -> Any:
        body = await request.json()
        if "responses" in body:
            return hosting.WorkflowTurn(responses=body["responses"], stream=body.get("stream", False))
        return hosting.WorkflowTurn(input=Ticket(**body["input"]), stream=body.get("stream", False))

    given, agent = json.load(sys.stdin), Counting()
    served = hosting.InvocationsHostServer(agent, configure_observability=None)
    stores = hosting.CheckpointStoreProvider(allowed_checkpoint_types=[f"{Ticket.__module__}:Ticket"])
    workflow = hosting.InvocationsHostServer(
        workflow=build, parse_request=parse, checkpoint_store_provider=stores, configure_observability=None
    )
    answers = {
        "agent": await play(given["agent"], _sending(served)),
        "workflow": await play(given["workflow"], _sending(workflow)),
        "twice": await play_twice(given["twice"], _sending(served), agent, waits=True),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(_main())
