"""A host on the emulator of Foundry storage, turns of every kind on it, and what a caller is told of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from agent_framework import Agent, Content, Message, tool

from hostedagent import AgentHost
from hostedagent.emulator import Emulator, call_id_for
from hostedagent.stores.factory import foundry_stores
from hostedagent.stores.retry import RetryPolicy
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply, serve

TurnKind: TypeAlias = Literal["first", "chained", "conversation", "asking", "answering"]
Delivery: TypeAlias = Literal["streamed", "plain", "background"]
TURNS: Final[tuple[TurnKind, ...]] = get_args(TurnKind)
DELIVERIES: Final[tuple[Delivery, ...]] = get_args(Delivery)

CONTINUED: Final = ("previous_response_id", "conversation")


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told: a status, and how the response ended if there is one.

    Args:
        status: The HTTP status.
        ended: The status of the response, `error` for a stream that ended with an `error` event; `None` without one.
        response: The response.
        code: The code of the error.
        raw: Everything that was received.
    """

    status: int
    ended: str | None
    response: Mapping[str, Any]
    code: str | None
    raw: str

    @property
    def is_done(self) -> bool:
        """Whether the turn took place."""
        return self.status == 200 and self.ended == "completed"

    @property
    def is_clear(self) -> bool:
        """Whether a turn that did not take place says so, with a code."""
        if self.status == 200:
            return self.ended in ("failed", "error") and bool(self.code)
        return 400 <= self.status < 600 and bool(self.code)


@dataclass(slots=True)
class World:
    """One host, its emulator, and a model that hears everything."""

    emulator: Emulator
    http: InProcessClient
    model: OfflineChatClient
    paid: list[str] = field(default_factory=list[str])

    async def turn(self, user: str, body: dict[str, Any], delivery: Delivery = "plain") -> Told:
        """One turn, to its end."""
        more = {"streamed": {"stream": True}, "plain": {}, "background": {"background": True}}[delivery]
        reply = await self.http.post("/responses", json={"model": "m", **body, **more}, headers=_as(user))
        if reply.status != 200:
            return refused(reply)
        if delivery == "streamed":
            return _streamed(reply)
        raw, response = reply.text, reply.json()
        while response["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.02)
            seen = await self.http.get(f"/responses/{response['id']}", headers=_as(user))
            raw += seen.text + str(seen.headers)
            if seen.status != 200:
                return refused(seen)
            response = seen.json()
        return Told(200, response["status"], response, _code(response), raw + str(reply.headers))

    async def begin(self, user: str, turn: TurnKind) -> dict[str, Any]:
        """What comes before a turn of a kind; returns the turn's body."""
        said = f"{'pay' if turn == 'asking' else 'say'} {user}"
        match turn:
            case "first" | "asking":
                return {"input": said}
            case "conversation":
                before = await self.turn(user, {"input": f"before {user}", "conversation": f"conv_{user}"})
                assert before.is_done, before.raw
                return {"input": said, "conversation": f"conv_{user}"}
            case "chained":
                before = await self.turn(user, {"input": f"before {user}"})
                assert before.is_done, before.raw
                return {"input": said, "previous_response_id": before.response["id"]}
            case "answering":
                asked = await self.turn(user, {"input": f"pay {user}"})
                answer = {"type": "mcp_approval_response", "approval_request_id": _question(asked), "approve": True}
                return {"input": [answer], "previous_response_id": asked.response["id"]}

    async def next_prompt(self, user: str, body: dict[str, Any], told: Told) -> list[str]:
        """What the model is shown in the turn that follows a turn; a question is answered first."""
        link = {"conversation": body["conversation"]} if "conversation" in body else _after(told)
        if "mcp_approval_request" in [item["type"] for item in told.response["output"]]:
            answer = {"type": "mcp_approval_response", "approval_request_id": _question(told), "approve": True}
            told = await self.turn(user, {"input": [answer], **link})
            assert told.is_done, told.raw
            link = _after(told)
        followed = await self.turn(user, {"input": f"next {user}", **link})
        assert followed.is_done, followed.raw
        calls = [call for call in self.model.calls if call.transcript[-1] == f"user: next {user}"]
        return calls[-1].transcript

    def calls_of(self, user: str) -> list[str]:
        """The routes that a user's requests took, tries included."""
        return [entry.route for entry in self.emulator.log if entry.user == user]


@asynccontextmanager
async def world(retry: RetryPolicy) -> AsyncGenerator[World]:
    """A host on an emulator of its own, which has been used before."""
    paid: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        paid.append(to)
        return f"paid {to}"

    model = OfflineChatClient(script=[_answer] * 10_000)
    async with Emulator(anonymous="refuse") as emulator:
        emulator.trust()
        stores = foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential, retry=retry)
        async with serve(AgentHost(Agent(model, tools=[pay]), stores=stores).app) as http:
            served = World(emulator, http, model, paid)
            await served.turn("warm", {"input": "pay warm"})  # Makes the state store.
            yield served
            emulator.faults.clear()


def refused(reply: Reply) -> Told:
    """What a refusal tells; it must have the shape of the protocol's errors."""
    error = reply.json()["error"]
    assert isinstance(error["message"], str) and error["message"], reply.text
    assert {"message", "type", "code", "param"} <= set(error), reply.text
    return Told(reply.status, None, {}, error["code"] or error["type"], reply.text + str(reply.headers))


def _streamed(reply: Reply) -> Told:
    frames = [frame for frame in reply.text.split("\n\n") if frame.startswith("event: ")]
    last = json.loads(frames[-1].partition("\ndata: ")[2])
    raw = reply.text + str(reply.headers)
    if last["type"] == "error":
        return Told(200, "error", {}, last["code"] or last["error"]["code"], raw)
    response = reply.log().response
    return Told(200, response["status"], response, _code(response), raw)


def _code(response: Mapping[str, Any]) -> str | None:
    error: Mapping[str, str] | None = response["error"]
    return error["code"] if error else None


def _as(user: str) -> dict[str, str]:
    return {"x-agent-user-id": user, "x-agent-foundry-call-id": call_id_for(user)}


def _question(told: Told) -> str:
    return next(item["id"] for item in told.response["output"] if item["type"] == "mcp_approval_request")


def _after(told: Told) -> dict[str, Any]:
    return {"previous_response_id": told.response["id"]}


def _answer(messages: Sequence[Message], options: Any) -> str | Content:
    last = messages[-1]
    if last.role == "tool":
        return "It is done."
    if last.text.startswith("pay "):
        user = last.text.removeprefix("pay ")
        return Content.from_function_call(f"call-{user}", "pay", arguments=json.dumps({"to": user}))
    return f"heard {last.text}"
