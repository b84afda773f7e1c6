"""`ToolApprovalMiddleware` behind a host: one question at a time, and approvals that also hold from now on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from agent_framework import Agent, Content, InMemoryHistoryProvider, ToolApprovalMiddleware, tool

from hostedagent import HostOptions
from hostedagent.options import HistoryOwner
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply
from tests.host.world import assert_refusal, hosting

HISTORIES: list[HistoryOwner] = ["replay", "session"]


def call(call_id: str, name: str, **arguments: Any) -> Content:
    return Content.from_function_call(call_id, name, arguments=json.dumps(arguments))


@dataclass(slots=True)
class Desk:
    """A caller of a host whose agent's tools `pay` and `mail` ask first."""

    http: InProcessClient
    model: OfflineChatClient
    ran: list[str] = field(default_factory=list[str])
    last: dict[str, Any] = field(default_factory=dict[str, Any])

    async def turn(self, given: Any) -> dict[str, Any]:
        """The next turn of the chain."""
        reply = await self.post(given)
        assert reply.status == 200, reply.text
        self.last = reply.json()
        return self.last

    async def post(self, given: Any) -> Reply:
        chain = {"previous_response_id": self.last["id"]} if self.last else {}
        return await self.http.post("/responses", json={"input": given, **chain})

    def answers(self, **more: Any) -> list[dict[str, Any]]:
        """An answer to each question of the last response."""
        asked = [item["id"] for item in self.last["output"] if item["type"] == "mcp_approval_request"]
        return [{"type": "mcp_approval_response", "approval_request_id": row, "approve": True, **more} for row in asked]

    @property
    def outline(self) -> list[str]:
        """The last response's items, one word each, and what questions and calls are about."""
        return [f"{item['type']} {item.get('arguments', '')}".strip() for item in self.last["output"]]


@asynccontextmanager
async def desk(
    *script: Any, history: HistoryOwner = "replay", middleware: Sequence[Any] | None = None, is_factory: bool = False
) -> AsyncGenerator[Desk]:
    ran: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(f"pay {to}")
        return f"paid {to}"

    @tool(approval_mode="always_require")
    def mail(to: str) -> str:
        """Write to somebody."""
        ran.append(f"mail {to}")
        return f"wrote to {to}"

    model = OfflineChatClient(script=[*script])

    def make() -> Agent[Any]:
        used = [ToolApprovalMiddleware()] if middleware is None else middleware
        return Agent(model, tools=[pay, mail], middleware=used, context_providers=[InMemoryHistoryProvider()])

    async with hosting(make if is_factory else make(), options=HostOptions(history=history)) as http:
        yield Desk(http, model, ran)


@pytest.mark.parametrize("is_factory", [False, True], ids=["agent", "factory"])
@pytest.mark.parametrize("history", HISTORIES)
async def test_four_questions_are_asked_one_at_a_time_and_each_call_runs_once(
    history: HistoryOwner, is_factory: bool
) -> None:
    calls = [call(f"c{n}", "pay", to=f"p{n}") for n in range(4)]
    async with desk(calls, "done", history=history, is_factory=is_factory) as at:
        await at.turn("pay all")
        for n in range(4):
            assert at.outline == [f'mcp_approval_request {{"to": "p{n}"}}']
            assert at.ran == []
            await at.turn(at.answers())

    assert at.ran == [f"pay p{n}" for n in range(4)]
    assert at.outline == [*(f'mcp_call {{"to": "p{n}"}}' for n in range(4)), "message"]
    assert at.model.calls[-1].transcript == [
        "user: pay all",
        *(f'assistant: -> pay({{"to": "p{n}"}})' for n in range(4)),
        *(f"tool: <- paid p{n}" for n in range(4)),
    ]


@pytest.mark.parametrize("history", HISTORIES)
async def test_a_tool_that_was_approved_for_good_is_not_asked_about_again(history: HistoryOwner) -> None:
    script = ([call("c1", "pay", to="a")], "1", [call("c2", "pay", to="b")], "2", [call("c3", "mail", to="c")])
    async with desk(*script, history=history) as at:
        await at.turn("pay a")
        await at.turn(at.answers(always_approve="tool"))
        await at.turn("pay b")
        assert at.outline == ['mcp_call {"to": "b"}', "message"]
        assert at.ran == ["pay a", "pay b"]

        await at.turn("mail c")
        assert at.outline == ['mcp_approval_request {"to": "c"}']


@pytest.mark.parametrize("history", HISTORIES)
async def test_an_approval_for_good_with_its_arguments_holds_for_these_only(history: HistoryOwner) -> None:
    script = ([call("c1", "pay", to="a")], "1", [call("c2", "pay", to="a")], "2", [call("c3", "pay", to="b")])
    async with desk(*script, history=history) as at:
        await at.turn("pay a")
        await at.turn(at.answers(always_approve="tool_with_arguments"))
        await at.turn("pay a again")
        assert at.ran == ["pay a", "pay a"]

        await at.turn("pay b")
        assert at.outline == ['mcp_approval_request {"to": "b"}']


@pytest.mark.parametrize("history", HISTORIES)
async def test_a_call_that_a_rule_allows_waits_for_the_question_beside_it_and_is_then_shown(
    history: HistoryOwner,
) -> None:
    both = [call("c2", "pay", to="b"), call("c3", "mail", to="c")]
    async with desk([call("c1", "pay", to="a")], "1", both, "2", "3", history=history) as at:
        await at.turn("pay a")
        await at.turn(at.answers(always_approve="tool"))
        await at.turn("pay and mail")
        assert at.outline == ['mcp_approval_request {"to": "c"}']
        assert at.ran == ["pay a"]

        await at.turn(at.answers())
        assert sorted(at.ran) == ["mail c", "pay a", "pay b"]
        assert sorted(at.outline[:-1]) == [
            'mcp_call {"to": "b"}',
            'mcp_call {"to": "c"}',
        ]
        assert not any("never answered" in row for row in at.model.calls[-1].transcript)

        await at.turn("and now?")
        shown = at.model.calls[-1].transcript
        assert shown.count("tool: <- paid b") == shown.count("tool: <- wrote to c") == 1


async def test_a_rule_of_one_chain_does_not_hold_in_another() -> None:
    async with desk([call("c1", "pay", to="a")], "1", [call("c2", "pay", to="b")]) as at:
        await at.turn("pay a")
        await at.turn(at.answers(always_approve="tool"))
        at.last = {}

        await at.turn("pay b")

        assert at.outline == ['mcp_approval_request {"to": "b"}']


@pytest.mark.parametrize(
    "more",
    [
        {"always_approve": "everything"},
        {"always_approve": True},
        {"always_approve": "tool", "approve": False},
        {"always_approve": ["tool"]},
    ],
)
async def test_an_approval_for_good_that_cannot_be_understood_is_refused(more: dict[str, Any]) -> None:
    async with desk([call("c1", "pay", to="a")], "1") as at:
        await at.turn("pay a")

        error = assert_refusal(await at.post(at.answers(**more)), 400)
        assert error["param"] == "input[0].always_approve"

        await at.turn(at.answers(always_approve=None))
        assert at.ran == ["pay a"]


async def test_an_agent_that_keeps_no_rules_says_so_and_the_question_stays_open() -> None:
    async with desk([call("c1", "pay", to="a")], "1", middleware=[]) as at:
        asked = await at.turn("pay a")
        refused = await at.turn(at.answers(always_approve="tool"))
        assert (refused["status"], refused["error"]["code"]) == ("failed", "invalid_prompt")
        assert "ToolApprovalMiddleware" in refused["error"]["message"]

        at.last = asked
        await at.turn(at.answers())
        assert at.ran == ["pay a"]
