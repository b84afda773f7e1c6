"""Serves requests with the peer's `InvocationsHostServer`, in an interpreter that has it and not our package.

Reads the requests from its standard input as JSON, and writes the answers to its standard output.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent_framework import AgentResponse, AgentResponseUpdate, BaseAgent, Content, ResponseStream


class Counting(BaseAgent):
    """Says what it was told and how often in this session, in two pieces; fails when it is told to."""

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
        yield self._update(f"{times} {dict(options or {}).get('max_tokens')}")

    @staticmethod
    def _update(text: str) -> AgentResponseUpdate:
        return AgentResponseUpdate(contents=[Content.from_text(text)], role="assistant", message_id="m1")


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, dict[str, str], bytes]]]


async def play(requests: Sequence[Mapping[str, Any]], send: Send) -> list[dict[str, Any]]:
    """Send requests one after the other, and note status, headers and body of each answer."""
    answers: list[dict[str, Any]] = []
    for request in requests:
        raw = request.get("raw")
        body = raw.encode() if raw is not None else json.dumps(request.get("body", {})).encode()
        headers = {"content-type": "application/json", **request.get("headers", {})}
        status, given, data = await send(request.get("method", "POST"), request["path"], headers, body)
        answers.append({"status": status, "headers": given, "body": data.decode()})
    return answers


async def _main() -> None:
    import httpx

    hosting: Any = importlib.import_module("agent_framework_foundry_hosting")
    app = hosting.InvocationsHostServer(Counting(name="counting"), configure_observability=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://peer") as client:

        async def send(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            reply = await client.request(method, path, headers=dict(headers), content=body)
            return reply.status_code, dict(reply.headers), reply.content

        answers = await play(json.load(sys.stdin), send)
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(_main())
