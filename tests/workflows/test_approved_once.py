"""An approval inside a workflow, whatever is done with it: the tool runs once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Content

from hostedagent import AgentHost, HostOptions, sqlite_stores
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.host.world import assert_refusal
from tests.workflows.flows import Deleter, approval, by_user, questions, say, talking, texts, turn

BOB = {"x-test-user": "bob"}
AGAIN = {"conversation": 404, "previous_response_id": 409}
"""A conversation has gone on, and its head asks nothing; a response that asked does so for ever, and was answered."""

BY = pytest.mark.parametrize("by", ["conversation", "previous_response_id"])


def deleting(deleter: Deleter) -> Callable[[], Any]:
    """A workflow whose first agent deletes a file if it may. What was called before is known by the messages."""

    def respond(messages: Any, _: Any) -> Any:
        has_run = any(content.type == "function_result" for message in messages for content in message.contents)
        call = Content.from_function_call("c0", "delete_file", arguments='{"path": "a.txt"}')
        return "done" if has_run else [call]

    return lambda: talking(
        OfflineChatClient(script=[respond] * 2), OfflineChatClient(script=["noted"]), tools=[deleter.tool]
    )


@asynccontextmanager
async def process(deleter: Deleter, folder: Path, **options: Any) -> AsyncGenerator[InProcessClient]:
    """A host on a folder; the next one on it finds what this one left."""
    host = AgentHost(
        deleting(deleter),
        stores=sqlite_stores(folder / "state.db"),
        resolve_scope=by_user,
        options=HostOptions(**options),
    )
    async with serve(host.app) as client:
        yield client


def continuing(by: str, asked: Any) -> dict[str, Any]:
    return {"conversation": "conv_1"} if by == "conversation" else {"previous_response_id": asked["id"]}


async def ask(client: InProcessClient, by: str) -> Any:
    return await turn(client, "clean up", **({"conversation": "conv_1"} if by == "conversation" else {}))


@BY
async def test_neither_a_stranger_nor_a_restart_nor_a_second_answer_runs_it_again(tmp_path: Path, by: str) -> None:
    deleter = Deleter()
    async with process(deleter, tmp_path) as client:
        asked = await ask(client, by)
        given = [approval(questions(asked)[0])]
        assert_refusal(await say(client, given, headers=BOB, **continuing(by, asked)), 404)
    assert deleter.ran == []

    async with process(deleter, tmp_path) as client:
        assert_refusal(await say(client, given, headers=BOB, **continuing(by, asked)), 404)
        answered = await turn(client, given, **continuing(by, asked))
        assert texts(answered) == ["done", "noted"]
        assert_refusal(await say(client, given, **continuing(by, asked)), AGAIN[by])
    assert deleter.ran == ["a.txt"]

    async with process(deleter, tmp_path) as client:
        assert_refusal(await say(client, given, **continuing(by, asked)), AGAIN[by])
        assert_refusal(await say(client, given, headers=BOB, **continuing(by, asked)), 404)
    assert deleter.ran == ["a.txt"]


@BY
async def test_an_answer_that_comes_too_late_runs_nothing(tmp_path: Path, by: str) -> None:
    deleter = Deleter()
    async with process(deleter, tmp_path, retention=0.0) as client:
        asked = await ask(client, by)
        reply = await say(client, [approval(questions(asked)[0])], **continuing(by, asked))

    assert reply.status in (400, 404), reply.text
    assert deleter.ran == []
