"""The ways into a host: each asks the agent in a conversation, and says how the turn ended and what it said."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hostedagent import AgentHost
from hostedagent.doors import AgUi, Invocations
from hostedagent.testing import InProcessClient
from tests.doors.front_end import FrontEnd
from tests.host.sockets import Socket


@dataclass(frozen=True, slots=True)
class Said:
    """How a turn ended: `completed`, `failed` or the status of a refusal; and what was read of it."""

    end: str
    text: str
    raw: str = ""


Way: TypeAlias = Callable[[AgentHost, InProcessClient, str, str, str], Awaitable[Said]]
"""Asks a text in a conversation as a user."""


def host(agent: Any, driver: Any = "starlette", **given: Any) -> AgentHost:
    """A host with every door."""
    return AgentHost(agent, doors=[AgUi(), Invocations()], driver=driver, **given)


def _as(user: str) -> dict[str, str]:
    return {"x-agent-user-id": user}


def _text(response: Mapping[str, Any]) -> str:
    messages = (item for item in response["output"] if item["type"] == "message")
    return "".join(part.get("text", "") for item in messages for part in item["content"])


async def responses(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /responses`."""
    reply = await http.post("/responses", json={"input": text, "conversation": conversation}, headers=_as(user))
    if reply.status != 200:
        return Said(str(reply.status), "", reply.body.decode())
    return Said(reply.json()["status"], _text(reply.json()), reply.body.decode())


async def websocket(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """A `response.create` over WebSocket."""
    socket = Socket(made.app, _as(user), "/responses")
    await socket.open()
    response = await socket.turn(text, conversation=conversation)
    await socket.leave()
    if "output" not in response:
        return Said(str(response["status"]), "", json.dumps(response))
    return Said(response["status"], _text(response), json.dumps(response))


async def invocation(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /invocations`, whole."""
    url = f"/invocations?agent_session_id={conversation}"
    reply = await http.post(url, json={"input": text}, headers=_as(user))
    if reply.status == 200:
        return Said(reply.json()["status"], reply.json()["response"], reply.body.decode())
    return Said("failed" if reply.status == 500 else str(reply.status), "", reply.body.decode())


async def invocation_stream(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /invocations`, streamed."""
    body = {"input": text, "conversation": conversation, "stream": True}
    reply = await http.post("/invocations", json=body, headers=_as(user))
    if reply.status != 200:
        return Said(str(reply.status), "", reply.body.decode())
    lines = [json.loads(line[6:]) for line in reply.body.decode().splitlines() if line.startswith("data: ")]
    words = "".join(line["text"] for line in lines if "text" in line)
    return Said("failed" if "message" in lines[-1] else lines[-1]["status"], words, reply.body.decode())


async def invocations_ws(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`/invocations_ws`."""
    socket = Socket(made.app, _as(user), "/invocations_ws")
    await socket.open()
    socket.send({"input": text, "conversation": conversation})
    words = ""
    while (event := await socket.event())["type"] not in ("done", "error"):
        words += event.get("text", "")
    await socket.leave()
    end = event["status"] if event["type"] == "done" else ("failed" if event["status"] == 500 else event["status"])
    return Said(str(end), words, json.dumps(event))


async def ag_ui(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /ag-ui`."""
    page = FrontEnd(http, user, conversation)
    events = await page.run(text)
    raw = "".join(event.model_dump_json() for event in events)
    if events[-1].type == "RUN_ERROR":
        return Said("failed", page.said, raw)
    return Said("completed" if events[-1].result is None else "incomplete", page.said, raw)


async def chat_completions(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /chat/completions`, whole, in a conversation."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "conversation": conversation}
    reply = await http.post("/chat/completions", json=body, headers=_as(user))
    if reply.status != 200:
        has_failed = reply.json()["error"]["type"] == "server_error"
        return Said("failed" if has_failed else str(reply.status), "", reply.body.decode())
    (choice,) = reply.json()["choices"]
    end = "incomplete" if choice["finish_reason"] == "length" else "completed"
    return Said(end, choice["message"]["content"] or "", reply.body.decode())


async def chat_stream(made: AgentHost, http: InProcessClient, text: str, conversation: str, user: str) -> Said:
    """`POST /chat/completions`, streamed, in a conversation."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "conversation": conversation, "stream": True}
    reply = await http.post("/chat/completions", json=body, headers=_as(user))
    raw = reply.body.decode()
    if reply.status != 200:
        return Said(str(reply.status), "", raw)
    *chunks, done = [line[6:] for line in raw.splitlines() if line.startswith("data: ")]
    rows = [json.loads(chunk) for chunk in chunks]
    assert done == "[DONE]"
    words = "".join(row["choices"][0]["delta"].get("content") or "" for row in rows if "choices" in row)
    return Said("failed" if "error" in rows[-1] else "completed", words, raw)


WAYS: dict[str, Way] = {
    "responses": responses,
    "websocket": websocket,
    "invocations": invocation,
    "invocations, streamed": invocation_stream,
    "invocations_ws": invocations_ws,
    "ag_ui": ag_ui,
    "chat_completions": chat_completions,
    "chat_completions, streamed": chat_stream,
}
"""Every way into a host, in a conversation."""
