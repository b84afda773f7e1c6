"""Answers that are pushed: what the report says, and that a target that is away loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hostedagent.doors import Delivery, deliver
from hostedagent.embed import Caller, Turns
from hostedagent.testing import ScriptedAgent
from tests.virtual_time import virtual_time


@dataclass
class Target:
    name: str
    outages: int = 0
    takes: bool | None = None
    got: list[str] = field(default_factory=list[str])

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        if self.outages:
            self.outages -= 1
            raise ConnectionError("secret text of the service")
        self.got.append(response["id"])
        return self.takes


async def test_the_report_says_what_was_delivered_skipped_and_failed() -> None:
    targets = [Target("chat"), Target("mail", takes=False), Target("away", outages=9), Target("shaky", outages=1)]

    report = await deliver({"id": "caresp_1"}, Caller(), targets, pause=0)

    assert report.deliveries == (
        Delivery("chat", "delivered"),
        Delivery("mail", "skipped"),
        Delivery("away", "failed", 3, "ConnectionError"),
        Delivery("shaky", "delivered", 2),
    )
    assert (report.response_id, report.names("failed")) == ("caresp_1", ["away"])


async def test_an_answer_that_was_not_delivered_can_be_read_and_pushed_again() -> None:
    away = Target("away", outages=1)
    async with Turns(ScriptedAgent(["Hello."])) as turns:
        async with turns.begin({"input": "hi"}, "ada") as turn:
            response = await turn.response()
        first = await deliver(response, Caller(), [away], attempts=1)
        again = await turns.retrieve(first.response_id, "ada")
        second = await deliver(again, Caller(), [away], attempts=1)

    assert (first.names("failed"), second.names("delivered")) == (["away"], ["away"])
    assert away.got == [response["id"]]


@dataclass
class Stubborn:
    """A target that hangs, or that loses a task of its own."""

    name: str
    hangs: bool

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        lost = asyncio.ensure_future(asyncio.Event().wait())
        if not self.hangs:
            lost.cancel()
        await lost


@virtual_time
async def test_a_target_that_hangs_or_loses_its_task_does_not_keep_the_answer_from_the_others() -> None:
    chat = Target("chat")

    report = await deliver({"id": "caresp_1"}, Caller(), [Stubborn("hangs", True), Stubborn("lost", False), chat])

    assert report.deliveries == (
        Delivery("hangs", "failed", 3, "TimeoutError"),
        Delivery("lost", "failed", 3, "CancelledError"),
        Delivery("chat", "delivered"),
    )
    assert chat.got == ["caresp_1"]


@dataclass
class Rude:
    """A target that ends the process, or empties the answer and then fails."""

    name: str
    exits: bool

    async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
        if self.exits:
            raise SystemExit(3)
        assert isinstance(response, dict)
        response["output"].clear()
        response.clear()
        raise ConnectionError


async def test_a_target_does_not_end_the_process_or_change_the_answer_of_the_others() -> None:
    seen: list[Mapping[str, Any]] = []

    class Reads(Target):
        async def deliver(self, response: Mapping[str, Any], caller: Caller) -> bool | None:
            seen.append(response)

    answer = {"id": "caresp_1", "output": ["an item"]}
    report = await deliver(answer, Caller(), [Rude("exits", True), Rude("empties", False), Reads("reads")], pause=0)

    assert (report.names("failed"), report.names("delivered")) == (["exits", "empties"], ["reads"])
    assert seen == [answer] == [{"id": "caresp_1", "output": ["an item"]}]


@virtual_time
async def test_a_delivery_can_be_cancelled() -> None:
    delivering = asyncio.create_task(deliver({"id": "caresp_1"}, Caller(), [Stubborn("hangs", True)]))
    await asyncio.sleep(1)
    delivering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await delivering


async def test_a_delivery_needs_an_attempt() -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1, not 0"):
        await deliver({"id": "caresp_1"}, Caller(), [Target("chat")], attempts=0)
