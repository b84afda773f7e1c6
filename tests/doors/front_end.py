"""A front end of AG-UI: sends runs, and keeps what it reads of them as the protocol says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ag_ui.core import Event, RunAgentInput
from pydantic import TypeAdapter

from hostedagent.testing import InProcessClient

EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


@dataclass
class FrontEnd:
    """One thread of a front end.

    Args:
        http: The host.
        user: Who is logged in.
        thread_id: The thread.
    """

    http: InProcessClient
    user: str = "ada"
    thread_id: str = field(default_factory=lambda: f"thread-{uuid4()}")
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    state: Any = None
    events: list[Any] = field(default_factory=list[Any])

    async def run(self, text: str | None = None, **more: Any) -> list[Any]:
        """Run the agent; returns the events, checked against the protocol's types."""
        if text is not None:
            self.messages.append({"id": str(uuid4()), "role": "user", "content": text})
        asked: dict[str, Any] = {"threadId": self.thread_id, "runId": str(uuid4()), "messages": self.messages, **more}
        if self.state is not None:
            asked["state"] = self.state
        RunAgentInput.model_validate(asked)
        reply = await self.http.post("/ag-ui", json=asked, headers={"x-agent-user-id": self.user})
        assert reply.status == 200, reply.body
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in reply.body.decode().splitlines() if line.startswith("data: ")]
        self.events = [EVENTS.validate_python(json.loads(line)) for line in lines]
        for event in self.events:
            self._take(event)
        return self.events

    @property
    def said(self) -> str:
        """The text of the last run."""
        return "".join(event.delta for event in self.events if event.type == "TEXT_MESSAGE_CONTENT")

    @property
    def kinds(self) -> list[str]:
        """The types of the last run's events, runs of the same type once."""
        found: list[str] = []
        for event in self.events:
            if not found or found[-1] != event.type.value:
                found.append(event.type.value)
        return found

    @property
    def interrupts(self) -> Sequence[Any]:
        """What the last run asks."""
        outcome = self.events[-1].outcome
        return outcome.interrupts if outcome is not None and outcome.type == "interrupt" else ()

    def answer(self, call_id: str, content: str) -> None:
        """The result of a tool of the front end."""
        self.messages.append({"id": str(uuid4()), "role": "tool", "toolCallId": call_id, "content": content})

    def _take(self, event: Any) -> None:
        match event.type.value:
            case "TEXT_MESSAGE_START":
                self.messages.append({"id": event.message_id, "role": "assistant", "content": ""})
            case "TEXT_MESSAGE_CONTENT":
                self._message(event.message_id)["content"] += event.delta
            case "TOOL_CALL_START":
                function = {"name": event.tool_call_name, "arguments": ""}
                call = {"id": event.tool_call_id, "type": "function", "function": function}
                self.messages.append({"id": event.tool_call_id, "role": "assistant", "toolCalls": [call]})
            case "TOOL_CALL_ARGS":
                self._message(event.tool_call_id)["toolCalls"][0]["function"]["arguments"] += event.delta
            case "TOOL_CALL_RESULT":
                result = {"role": "tool", "toolCallId": event.tool_call_id, "content": event.content}
                self.messages.append({"id": event.message_id, **result})
            case "STATE_SNAPSHOT":
                self.state = event.snapshot
            case "MESSAGES_SNAPSHOT":
                self.messages[:] = [row.model_dump(by_alias=True) for row in event.messages]
            case _:
                pass

    def _message(self, message_id: str) -> dict[str, Any]:
        return next(message for message in self.messages if message["id"] == message_id)


def texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who said what."""
    return [f"{row['role']}: {row.get('content')}" for row in messages]
