"""`Turns`: what an application's own routes get from the engine, without HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import Agent, InMemoryHistoryProvider, tool

from hostedagent import (
    AgentHost,
    Completed,
    ConfigurationError,
    Hooks,
    HostOptions,
    Outcome,
    TurnRequest,
    memory_stores,
)
from hostedagent.embed import Caller, RequestError, Turns
from hostedagent.stores.batch import Part
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.testing import EventLog, Gate, OfflineChatClient, ScriptedAgent, serve
from tests.host.approving import answer, call, questions
from tests.virtual_time import virtual_time

ADA, GRACE = "ada", "grace"


async def ask(turns: Turns, body: Mapping[str, Any] | str, caller: Caller | str = ADA) -> dict[str, Any]:
    async with turns.begin({"input": body} if isinstance(body, str) else body, caller) as turn:
        return await turn.response()


class Full(StoredResponses):
    """A repository of an application's own, whose disk is full once a response is begun."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())

    async def update(
        self, caller: Caller, response: Mapping[str, Any], with_parts: Sequence[Part] = (), *, is_own: bool = True
    ) -> None:
        raise OSError("No space left on device")


def without_ids(response: Mapping[str, Any]) -> dict[str, Any]:
    changing = {"id", "created_at", "completed_at", "agent_session_id"}
    output = [
        {key: value for key, value in item.items() if key not in ("id", "response_id")} for item in response["output"]
    ]
    return {**{key: value for key, value in response.items() if key not in changing}, "output": output}


async def test_a_whole_answer_is_what_the_hosts_routes_answer() -> None:
    body = {"input": "hi", "metadata": {"a": "b"}, "temperature": 0.5}
    async with serve(AgentHost(ScriptedAgent(["Hello."]), driver="starlette").app) as client:
        served = (await client.post("/responses", json=body)).json()
    async with Turns(ScriptedAgent(["Hello."])) as turns:
        own = await ask(turns, body)
        again = await turns.retrieve(own["id"], ADA)

    assert without_ids(own) == without_ids(served)
    assert again == own


async def test_events_and_frames_are_the_same_stream() -> None:
    async with Turns(ScriptedAgent(["Hel", "lo."], ["Hel", "lo."])) as turns:
        async with turns.begin('{"input": "hi", "stream": true}', ADA) as turn:
            events = [event async for event in turn.events()]
        async with turns.begin(b'{"input": "hi", "stream": true}', ADA) as turn:
            frames = b"".join([frame async for frame in turn.sse()])

    log = EventLog.from_sse(frames)
    assert log.text == "Hello." and log.status == "completed"
    assert [event["type"] for event in events] == [event["type"] for event in log.events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_chain_continues_for_its_caller_and_for_nobody_else() -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with Turns(agent) as turns:
        first = await ask(turns, "a")
        next_one = {"input": "b", "previous_response_id": first["id"]}
        with pytest.raises(RequestError) as foreign:
            await ask(turns, next_one, GRACE)
        with pytest.raises(RequestError) as hidden:
            await turns.retrieve(first["id"], GRACE)
        await ask(turns, next_one)

    assert (foreign.value.status, hidden.value.status) == (404, 404)
    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]


async def test_a_bad_request_is_refused_with_status_param_and_body() -> None:
    agent = ScriptedAgent()
    async with Turns(agent) as turns:
        for body in ({"input": "hi", "temperature": 99}, {"input": "hi", "background": True, "store": False}, b"{"):
            with pytest.raises(RequestError) as refused:
                async with turns.begin(body, ADA):
                    pass
            assert refused.value.status == 400
            assert refused.value.body()["error"]["param"] == refused.value.param
        with pytest.raises(RequestError, match="no identity") as unknown:
            await ask(turns, "hi", "")

    assert unknown.value.status == 401
    assert agent.calls == []


async def test_a_busy_conversation_is_refused_until_its_turn_has_ended() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    body = {"input": "hi", "conversation": "c1"}
    async with Turns(agent) as turns:
        running = asyncio.create_task(ask(turns, body))
        await gate.reached()
        with pytest.raises(RequestError) as busy:
            await ask(turns, body)
        gate.open()
        await running
        second = await ask(turns, body)

    assert busy.value.status == 409
    assert second["status"] == "completed"


async def test_a_block_that_is_left_stops_its_turn_and_frees_the_conversation() -> None:
    gate = Gate()
    body = {"input": "hi", "conversation": "c1", "stream": True}
    async with Turns(ScriptedAgent(["one", gate], ["two"]), options=HostOptions(max_turns=1)) as turns:
        async with turns.begin(body, ADA) as turn:
            events = turn.events()
            async for event in events:
                if event["type"] == "response.output_text.delta":
                    break
            await events.aclose()
        async with turns.begin(body, ADA):
            pass  # Accepted, and never read.
        left = await turns.retrieve(turn.response_id, ADA)
        after = await ask(turns, body)

    assert (left["status"], left["output"]) == ("cancelled", [])
    assert after["status"] == "completed"


async def test_a_turn_that_is_stopped_ends_cancelled() -> None:
    gate = Gate()
    async with Turns(ScriptedAgent(["one", gate])) as turns, turns.begin({"input": "hi"}, ADA) as turn:
        running = asyncio.create_task(turn.response())
        await gate.reached()
        turn.stop()
        response = await running

    assert response["status"] == "cancelled"


async def test_a_turn_is_read_once() -> None:
    async with Turns(ScriptedAgent(["one"])) as turns, turns.begin({"input": "hi"}, ADA) as turn:
        await turn.response()
        with pytest.raises(RuntimeError, match="once"):
            await anext(turn.events())


async def test_an_approval_is_asked_and_carried_out_once() -> None:
    ran: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(to)
        return "paid"

    model = OfflineChatClient(script=[[call("c1", "pay", to="ada")], "Paid."])
    async with Turns(Agent(model, tools=[pay])) as turns:
        asked = await ask(turns, "Pay Ada.")
        (question,) = questions(asked)
        answered = {"input": [answer(question)], "previous_response_id": asked["id"]}
        with pytest.raises(RequestError) as foreign:
            await ask(turns, answered, GRACE)
        paid = await ask(turns, answered)
        with pytest.raises(RequestError) as used:
            await ask(turns, answered)

    assert (foreign.value.status, used.value.status) == (404, 409)
    assert ran == ["ada"] and len(model.calls) == 2
    assert paid["output"][-1]["content"][0]["text"] == "Paid."


async def test_hooks_are_called() -> None:
    seen: list[Outcome] = []

    def before(request: TurnRequest) -> None:
        assert request.caller.isolation.user == ADA

    hooks = Hooks(before_run=before, on_outcome=lambda request, outcome: seen.append(outcome))
    async with Turns(ScriptedAgent(["Hello."]), hooks=hooks) as turns:
        response = await ask(turns, "hi")

    assert response["status"] == "completed"
    assert seen == [Completed()]


async def test_a_background_turn_is_read_replayed_cancelled_and_deleted() -> None:
    gate = Gate()
    body = {"input": "hi", "background": True, "stream": True}
    async with Turns(ScriptedAgent(["Hel", gate, "lo."], ["done"])) as turns:
        started = await ask(turns, body)
        await gate.reached()
        running = await turns.retrieve(started["id"], ADA)
        cancelled = await turns.cancel(started["id"], ADA)
        replayed = [event async for event in await turns.replay(started["id"], ADA, after=1)]
        items = await turns.input_items(started["id"], ADA)
        await turns.delete(started["id"], ADA)
        with pytest.raises(RequestError) as gone:
            await turns.retrieve(started["id"], ADA)
        async with turns.begin(body, ADA) as turn:
            followed = [event["type"] async for event in turn.events()]

    assert started["status"] == "in_progress"
    assert running["output"][0]["content"][0]["text"] == "Hel"
    assert cancelled["status"] == "cancelled"
    assert [event["sequence_number"] for event in replayed] == list(range(2, 2 + len(replayed)))
    assert items["data"][0]["content"][0]["text"] == "hi"
    assert gone.value.status == 404
    assert followed[-1] == "response.completed"


async def test_a_turn_whose_end_cannot_be_stored_still_ends_its_stream() -> None:
    async with Turns(ScriptedAgent(["Hello."]), stores=replace(memory_stores(), responses=Full())) as turns:
        async with turns.begin({"input": "hi", "stream": True}, ADA) as turn:
            events = [event async for event in turn.events()]

    assert events[-1]["type"] == "response.failed"


@virtual_time
async def test_a_cancel_whose_turn_does_not_end_in_time_reports_its_status() -> None:
    gate, told = Gate(), asyncio.Event()

    async def slow(request: TurnRequest, outcome: Outcome) -> None:
        await told.wait()

    async with Turns(ScriptedAgent(["Hel", gate, "lo."]), hooks=Hooks(on_outcome=slow)) as turns:
        started = await ask(turns, {"input": "hi", "background": True})
        await gate.reached()
        cancelled = await turns.cancel(started["id"], ADA)
        told.set()

    assert cancelled["status"] in ("in_progress", "cancelled")


@pytest.mark.parametrize("response_id", ["", "resp_1", "caresp_1", "../secrets"])
async def test_an_id_that_is_none_is_refused(response_id: str) -> None:
    async with Turns(ScriptedAgent()) as turns:
        for call_of in (turns.retrieve, turns.cancel, turns.delete, turns.input_items, turns.replay):
            with pytest.raises(RequestError) as refused:
                await call_of(response_id, ADA)
            assert refused.value.status == 400


@pytest.mark.parametrize("response_id", ["resp_1", "caresp_1", "a/b"])
async def test_an_id_under_which_no_response_could_be_read_is_refused_before_the_turn(response_id: str) -> None:
    agent = ScriptedAgent(["one"])
    async with Turns(agent) as turns:
        with pytest.raises(RequestError, match="malformed") as refused:
            async with turns.begin({"input": "hi"}, ADA, response_id=response_id):
                pass
        assert (refused.value.status, refused.value.param) == (400, "response_id")

    assert not agent.calls


async def test_after_the_lifespan_new_turns_are_refused() -> None:
    turns = Turns(ScriptedAgent(["one"]))
    async with turns.lifespan(None):
        await ask(turns, "hi")
    with pytest.raises(RequestError) as refused:
        await ask(turns, "hi")

    assert refused.value.status == 503


class CountingHistory(InMemoryHistoryProvider):
    def __init__(self) -> None:
        super().__init__()
        self.saves = 0

    async def save_messages(self, *args: Any, **kwargs: Any) -> None:
        self.saves += 1
        await super().save_messages(*args, **kwargs)


async def test_the_history_of_a_plain_agent_is_saved_once_by_a_streamed_turn() -> None:
    history = CountingHistory()
    agent = Agent(OfflineChatClient(), name="helper", context_providers=[history])
    body = {"input": "My name is Ada.", "conversation": "c1", "stream": True}
    async with Turns(agent, options=HostOptions(history="session")) as turns:
        async with turns.begin(body, ADA) as turn:
            _ = [event async for event in turn.events()]
        saved = history.saves
        second = await ask(turns, {"input": "What is my name?", "conversation": "c1"})

    assert saved == 1
    assert second["output"][-1]["content"][0]["text"] == "Your name is Ada."


def test_what_cannot_work_is_refused_when_it_is_built() -> None:
    with pytest.raises(ConfigurationError, match=r"Turns\(options=\.\.\.\)"):
        Turns(ScriptedAgent(), options="fast")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match="resilient_background"):
        Turns(ScriptedAgent(), options=HostOptions(resilient_background=True), stores=memory_stores())


LOADED = """
import asyncio, sys
from hostedagent.embed import Turns
from hostedagent.testing import ScriptedAgent

async def main():
    async with Turns(ScriptedAgent(["Hello."])) as turns:
        async with turns.begin({"input": "hi"}, "ada") as turn:
            assert (await turn.response())["status"] == "completed"
        turns.routes()

asyncio.run(main())
print([name for name in sys.modules if name.partition(".")[0] in ("azure", "fastapi", "aiohttp", "uvicorn")])
"""


def test_it_loads_no_web_framework_but_starlette_and_nothing_of_the_sdk() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


async def test_turns_that_were_closed_say_that_they_cannot_be_opened_again() -> None:
    turns = Turns(ScriptedAgent(["Hello."]))
    async with turns:
        assert (await ask(turns, "hi"))["status"] == "completed"
    with pytest.raises(RuntimeError, match=r"was closed.* Create a new one\."):
        await turns.__aenter__()
