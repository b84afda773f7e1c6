"""The ways into a host: each asks the agent in a conversation, and says how the turn ended and what it said.

Suites that were written for `POST /responses` run through them where the ways can differ: in what a client may name, in
what it reads of a turn, and in how it leaves. What lies behind the doors is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import uuid4

from hostedagent import AgentHost
from hostedagent.doors import AgUi, Invocations
from hostedagent.outcomes import ErrorCode
from hostedagent.testing import InProcessClient
from tests.doors.front_end import EVENTS
from tests.host.sockets import TERMINAL, Socket


@dataclass(frozen=True, slots=True)
class Said:
    """How a turn ended: `completed`, `failed` or the status of a refusal; and what was read of it."""

    end: str
    text: str
    raw: str = ""


def host(agent: Any, driver: Any = "starlette", **given: Any) -> AgentHost:
    """A host with every door."""
    return AgentHost(agent, doors=[AgUi(), Invocations()], driver=driver, **given)


@dataclass(frozen=True, slots=True)
class Way:
    """One way into a host.

    Args:
        door: Its door, in the table of the doors.
        path: Where it is; `{}` stands for the conversation.
        body: What asks a text in a conversation.
        read: Reads an answer with status 200: a body, the data of a stream's events, or messages of a socket.
        streams: Whether the answer comes piece by piece.
        ends: Which messages of a socket are the last ones of a turn; empty where it is no socket.
        cancel: What cancels a turn, by the id in `x-agent-invocation-id`.
        more: Further fields of the body.
    """

    door: str
    path: str
    body: Callable[[str, str], Mapping[str, Any]]
    read: Callable[[list[Any]], Said]
    streams: bool = True
    ends: tuple[str, ...] = ()
    cancel: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def asks(self, text: str, conversation: str) -> dict[str, Any]:
        """The body that asks a text in a conversation."""
        return {**self.body(text, conversation), **self.more}

    async def __call__(
        self,
        app: Any,
        http: InProcessClient,
        text: str,
        conversation: str,
        user: str = "",
        **headers: str,
    ) -> Said:
        """Ask. A caller that is cancelled hangs up."""
        status, raw = await self.send(app, http, self.asks(text, conversation), conversation, who(user) | headers)
        return self.said(status, raw)

    def said(self, status: int, raw: str) -> Said:
        """What an answer says."""
        if status != 200:
            has_failed = json.loads(raw)["error"]["type"] == "server_error" and status != 503
            return Said("failed" if has_failed else str(status), "", raw)
        if not self.ends:
            data = [line[6:] for line in raw.splitlines() if line.startswith("data: ")]
            rows = [json.loads(line) for line in data if line != "[DONE]"] if self.streams else [json.loads(raw)]
        else:
            rows = [json.loads(line) for line in raw.splitlines()]
        read = self.read(rows)
        return Said(read.end, read.text, raw)

    async def send(
        self,
        app: Any,
        http: InProcessClient,
        body: Mapping[str, Any],
        conversation: str,
        headers: Mapping[str, str],
    ) -> tuple[int, str]:
        """Send a body; the status, and everything that came."""
        if not self.ends:
            reply = await http.post(self.path.format(conversation), json=body, headers=headers)
            return reply.status, reply.body.decode()
        socket = Socket(app, headers, self.path)
        try:
            await socket.open()
            if socket.status is not None:
                return socket.status, '{"error": {"type": "refused"}}'
            socket.send(body)
            events = [await socket.event()]
            while events[-1]["type"] not in self.ends:
                events.append(await socket.event())
        finally:
            await socket.leave()
        return 200, "\n".join(json.dumps(event) for event in events)


def who(user: str) -> dict[str, str]:
    """The headers of a user; none where nobody has logged in."""
    return {"x-agent-user-id": user} if user else {}


def _response(rows: list[Any]) -> Said:
    last = rows[-1]
    response: Mapping[str, Any] = last.get("response", last)
    if "output" not in response:
        return Said(str(response["status"]), "")
    messages = (item for item in response["output"] if item["type"] == "message")
    words = "".join(part.get("text", "") for item in messages for part in item["content"])
    return Said(response["status"], words)


def _invocation(rows: list[Any]) -> Said:
    return Said(rows[-1]["status"], rows[-1]["response"])


def _invocation_events(rows: list[Any]) -> Said:
    words, last = "".join(row["text"] for row in rows if "text" in row), rows[-1]
    if "message" in last:
        return Said("failed" if last["code"] in get_args(ErrorCode) else str(last["status"]), words)
    return Said(last["status"], words)


def _ag_ui(rows: list[Any]) -> Said:
    events = [EVENTS.validate_python(row) for row in rows]
    words = "".join(event.delta for event in events if event.type == "TEXT_MESSAGE_CONTENT")
    if events[-1].type == "RUN_ERROR":
        return Said("failed", words)
    return Said("completed" if events[-1].result is None else "incomplete", words)


def _completion(rows: list[Any]) -> Said:
    (choice,) = rows[0]["choices"]
    return Said(
        "incomplete" if choice["finish_reason"] == "length" else "completed", choice["message"]["content"] or ""
    )


def _chunks(rows: list[Any]) -> Said:
    words = "".join(row["choices"][0]["delta"].get("content") or "" for row in rows if "choices" in row)
    return Said("failed" if "error" in rows[-1] else "completed", words)


def asks(text: str, conversation: str) -> dict[str, Any]:
    """The body of a create-response request."""
    return {"input": text, "conversation": conversation}


def invokes(text: str, conversation: str) -> dict[str, Any]:
    """The body of an invocation, in the session that its path names."""
    return {"input": text}


def run_of(text: str, conversation: str) -> dict[str, Any]:
    """The body of a run of AG-UI."""
    message = {"id": str(uuid4()), "role": "user", "content": text}
    return {"threadId": conversation, "runId": str(uuid4()), "messages": [message]}


def chats(text: str, conversation: str) -> dict[str, Any]:
    """The body of a request of Chat Completions."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], "conversation": conversation}


_STREAM = {"stream": True}
_INVOCATIONS = "/invocations"
_CANCEL = "/invocations/{}/cancel"
_CHAT, _CHAT_PATH = "`/chat/completions`", "/chat/completions"

WAYS: dict[str, Way] = {
    "responses": Way("Responses", "/responses", asks, _response, streams=False),
    "websocket": Way("WebSocket", "/responses", asks, _response, ends=TERMINAL, more={"type": "response.create"}),
    "invocations": Way(
        "Invocations",
        "/invocations?agent_session_id={}",
        invokes,
        _invocation,
        streams=False,
        cancel=_CANCEL,
    ),
    "invocations, streamed": Way("Invocations", _INVOCATIONS, asks, _invocation_events, cancel=_CANCEL, more=_STREAM),
    "invocations_ws": Way("Invocations", "/invocations_ws", asks, _invocation_events, ends=("done", "error")),
    "ag_ui": Way("AG-UI", "/ag-ui", run_of, _ag_ui),
    "chat_completions": Way(_CHAT, _CHAT_PATH, chats, _completion, streams=False),
    "chat_completions, streamed": Way(_CHAT, _CHAT_PATH, chats, _chunks, more=_STREAM),
}
"""Every way into a host, in a conversation."""
