"""Where a workflow goes on: from the checkpoint of what is continued, and from the transcript where there is none."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Agent, Content, Executor, Message, WorkflowBuilder, WorkflowContext, handler

from hostedagent import AgentHost, ConfigurationError, HostOptions, sqlite_stores
from hostedagent.stores import checkpoints as stored
from hostedagent.stores.sessions import TURN
from hostedagent.testing import Gate, OfflineChatClient, serve
from tests.stores.records import delete
from tests.workflows.flows import (
    asking,
    calls,
    output,
    say,
    scope_of,
    talking,
    texts,
    turn,
    watching,
)


def _flow(client: OfflineChatClient) -> Any:
    return lambda: talking(client)


async def test_each_turn_sends_what_is_new_and_the_agent_inside_remembers_the_rest() -> None:
    model = OfflineChatClient(script=["one", "two", "three"])
    async with watching(_flow(model)) as world:
        for text in ("a", "b", "c"):
            await turn(world.client, text, conversation="conv_1")

    assert model.calls[2].transcript == ["user: a", "assistant: one", "user: b", "assistant: two", "user: c"]


async def test_a_branch_goes_on_from_the_checkpoint_of_the_response_it_names() -> None:
    model = OfflineChatClient(script=["one", "two", "other"])
    async with watching(_flow(model)) as world:
        first = await turn(world.client, "a")
        await turn(world.client, "b", previous_response_id=first["id"])
        await turn(world.client, "c", previous_response_id=first["id"])

    assert model.calls[2].transcript == ["user: a", "assistant: one", "user: c"]


async def test_a_request_can_be_answered_in_two_branches() -> None:
    async with watching(asking) as world:
        first = await turn(world.client, "number")
        for answer in ("1", "2"):
            second = await turn(
                world.client, [output(calls(first)["AskNumber"], answer)], previous_response_id=first["id"]
            )
            assert texts(second) == [f"number={answer}"]


async def test_without_its_checkpoint_a_workflow_gets_the_transcript() -> None:
    model = OfflineChatClient(script=["one", "two"])
    async with watching(_flow(model)) as world:
        first = await turn(world.client, "a")
        await delete(world.state, scope_of(), TURN, first["id"])
        await turn(world.client, "b", previous_response_id=first["id"])

    assert model.calls[1].transcript == ["user: a", "assistant: one", "user: b"]


async def test_a_workflow_that_is_built_otherwise_gets_the_transcript(caplog: pytest.LogCaptureFixture) -> None:
    before, after = OfflineChatClient(script=["one"]), OfflineChatClient(script=["two", "three"])
    flows = [talking(before), talking(after, after)]
    async with watching(lambda: flows.pop(0)) as world:
        first = await turn(world.client, "a")
        second = await turn(world.client, "b", previous_response_id=first["id"])

    assert texts(second) == ["two", "three"]
    assert after.calls[0].transcript == ["user: a", "assistant: one", "user: b"]
    assert "not built as it was" in caplog.text


async def test_a_failed_turn_can_be_tried_again_from_what_came_before_it() -> None:
    model = OfflineChatClient(script=["one", RuntimeError("down"), "two", "three"])
    async with watching(_flow(model)) as world:
        first = await turn(world.client, "a")
        failed = (await say(world.client, "b", previous_response_id=first["id"])).json()
        assert failed["status"] == "failed"
        await turn(world.client, "b", previous_response_id=first["id"])
        await turn(world.client, "c", previous_response_id=failed["id"])

    assert model.calls[2].transcript == ["user: a", "assistant: one", "user: b"]
    assert model.calls[3].transcript == ["user: a", "assistant: one", "user: c"]


async def test_a_failed_turn_of_a_conversation_can_be_tried_again() -> None:
    model = OfflineChatClient(script=["one", RuntimeError("down"), "two"])
    async with watching(_flow(model)) as world:
        await turn(world.client, "a", conversation="conv_1")
        assert (await say(world.client, "b", conversation="conv_1")).json()["status"] == "failed"
        await turn(world.client, "c", conversation="conv_1")
        assert len(await world.checkpoints()) == 1

    assert model.calls[2].transcript == ["user: a", "assistant: one", "user: c"]


async def test_an_answer_whose_turn_failed_can_be_given_again() -> None:
    async with watching(asking) as world:
        first = await turn(world.client, "number", conversation="conv_1")
        call_id = calls(first)["AskNumber"]
        failed = (await say(world.client, [output(call_id, "-1")], conversation="conv_1")).json()
        assert failed["status"] == "failed"

        assert texts(await turn(world.client, [output(call_id, "1")], conversation="conv_1")) == ["number=1"]


async def test_a_cancelled_turn_can_be_tried_again() -> None:
    gate = Gate()
    model = OfflineChatClient(script=["one", ["tw", gate, "o"], "two"])
    async with watching(_flow(model)) as world:
        first = await turn(world.client, "a")
        running = await say(world.client, "b", previous_response_id=first["id"], background=True)
        await gate.reached()
        cancelled = await world.client.post(f"/responses/{running.json()['id']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        again = await turn(world.client, "b", previous_response_id=first["id"])

    assert texts(again) == ["two"]
    assert model.calls[2].transcript == ["user: a", "assistant: one", "user: b"]


async def test_a_workflow_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with serve(AgentHost(asking, stores=sqlite_stores(tmp_path / "state.db")).app) as client:
        first = await turn(client, "tags number")
    async with serve(AgentHost(asking, stores=sqlite_stores(tmp_path / "state.db")).app) as client:
        both = [output(calls(first)["AskTags"], '["a"]'), output(calls(first)["AskNumber"], "1")]
        second = await turn(client, both, previous_response_id=first["id"])

    assert sorted(texts(second)) == ["number=1", "tags=['a']"]


async def test_a_conversation_keeps_the_checkpoint_of_its_head_only() -> None:
    model = OfflineChatClient(script=["x"] * 5)
    async with watching(_flow(model)) as world:
        heads = [await turn(world.client, "a", conversation="conv_1") for _ in range(5)]
        assert await world.checkpoints() == [heads[-1]["id"]]


async def test_a_chain_keeps_the_checkpoints_of_its_latest_eight_and_the_transcript_serves_the_others() -> None:
    model = OfflineChatClient(script=["x"] * 12)
    async with watching(_flow(model)) as world:
        ids: list[str] = []
        for _ in range(11):
            ids.append((await turn(world.client, "a", **({"previous_response_id": ids[-1]} if ids else {})))["id"])
        assert sorted(await world.checkpoints()) == sorted(ids[-8:])
        await turn(world.client, "b", previous_response_id=ids[0])

    assert model.calls[11].transcript == ["user: a", "assistant: x", "user: b"]


async def test_a_deleted_response_takes_its_checkpoint_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "INLINE_CHARACTERS", 10)
    monkeypatch.setattr(stored, "PART_CHARACTERS", 300)
    model = OfflineChatClient(script=["one", "two"])
    async with watching(_flow(model)) as world:
        first = await turn(world.client, "a")
        second = await turn(world.client, "b", previous_response_id=first["id"])
        assert model.calls[1].transcript == ["user: a", "assistant: one", "user: b"], "read back from parts"
        assert {key.partition(":")[0] for key in await world.parts()} == {first["id"], second["id"]}
        assert len(await world.parts()) > 4

        assert (await world.client.delete(f"/responses/{first['id']}")).status == 200
        assert {key.partition(":")[0] for key in await world.parts()} == {second["id"]}
        assert (await world.client.delete(f"/responses/{second['id']}")).status == 200
        assert await world.parts() == [] and await world.checkpoints() == []


async def test_a_checkpoint_that_lost_a_part_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "INLINE_CHARACTERS", 10)
    async with watching(asking) as world:
        first = await turn(world.client, "number")
        for key in await world.parts():
            await delete(world.state, scope_of(), stored.PART, key)
        answered = await say(world.client, [output(calls(first)["AskNumber"], "1")], previous_response_id=first["id"])

    assert answered.json()["status"] == "failed"
    assert "no longer kept" in answered.json()["error"]["message"]


async def test_a_turn_that_is_not_stored_leaves_no_checkpoint() -> None:
    model = OfflineChatClient(script=["one"])
    async with watching(_flow(model)) as world:
        await turn(world.client, "a", store=False)
        assert await world.checkpoints() == []


def _unnamed() -> WorkflowBuilder:
    return WorkflowBuilder(start_executor=Agent(OfflineChatClient(), name="first"))


@pytest.mark.parametrize(
    ("factory", "options", "reason"),
    [
        (_unnamed, {}, "WorkflowBuilder(name="),
        (asking, {"history": "service"}, "Leave HostOptions(history=...) out"),
    ],
)
def test_a_workflow_whose_state_could_not_be_found_again_is_refused_when_the_host_is_built(
    factory: Any, options: Any, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        AgentHost(factory, options=HostOptions(**options))


@pytest.mark.parametrize(
    ("factory", "options", "reason"),
    [
        (lambda: _unnamed(), {}, "WorkflowBuilder(name="),
        (lambda: asking(), {"history": "service"}, "Leave HostOptions(history=...) out"),
    ],
)
async def test_a_factory_that_does_not_say_what_it_makes_fails_its_turns_with_the_reason(
    factory: Any, options: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with watching(factory, **options) as world:
        reply = await say(world.client, "a")

    assert reply.json()["status"] == "failed"
    assert reason in caplog.text


class Opaque:
    """No plain data, and not registered."""


class Keeping(Executor):
    """Keeps something in its state, from the second turn on."""

    def __init__(self, value: object) -> None:
        super().__init__(id="keeping")
        self.value = value
        self.has_started = False

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(messages[-1].text)
        self.has_started = messages[-1].text == "b"

    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {"kept": self.value} if self.has_started else {}


@pytest.mark.parametrize("value", [Opaque(), threading.Lock()], ids=["unregistered", "cannot be copied"])
async def test_a_turn_whose_checkpoint_cannot_be_kept_has_failed(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with watching(lambda: WorkflowBuilder(start_executor=Keeping(value), name="keeping")) as world:
        first = await turn(world.client, "a")
        reply = await say(world.client, "b", previous_response_id=first["id"])
        assert await world.checkpoints() == [first["id"]]

    assert reply.json()["status"] == "failed"
    assert "Saving the turn" in caplog.text


class Consenting(Executor):
    """Counts the messages it has seen, and asks for consent when it is told to."""

    def __init__(self) -> None:
        super().__init__(id="consenting")

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[Any, Any]) -> None:
        seen = int(ctx.get_state("seen", 0)) + 1
        ctx.set_state("seen", seen)
        if messages[-1].text == "consent":
            await ctx.yield_output(Content.from_oauth_consent_request("https://example.com/consent"))
        await ctx.yield_output(f"seen {seen}")


@pytest.mark.parametrize("consent", ["item", "message"])
@pytest.mark.parametrize("fields", [{"conversation": "conv_1"}, {}], ids=["conversation", "chain"])
async def test_after_a_turn_that_was_cut_short_the_workflow_goes_on_from_before_it(
    fields: dict[str, Any], consent: str
) -> None:
    def flow() -> WorkflowBuilder:
        return WorkflowBuilder(start_executor=Consenting(), name="consenting")

    async with watching(flow, consent_origins=None, consent=consent) as world:
        first = await turn(world.client, "a", **fields)
        link = fields or {"previous_response_id": first["id"]}
        cut = (await say(world.client, "consent", **link)).json()
        assert [item["type"] for item in cut["output"]] == ["oauth_consent_request" if consent == "item" else "message"]
        again = await turn(world.client, "b", **(fields or {"previous_response_id": cut["id"]}))

    assert texts(again) == ["seen 2"]
