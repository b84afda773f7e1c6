import asyncio

import pytest
from agent_framework import AgentResponseUpdate, AgentSession, Content, Message, SupportsAgentRun

from hostedagent.testing import Gate, ScriptedAgent


def agent_for(protocol: SupportsAgentRun) -> SupportsAgentRun:
    return protocol


async def test_it_is_an_agent_by_protocol_and_streams_its_steps() -> None:
    update = AgentResponseUpdate(contents=[Content.from_text("!")], role="assistant", message_id="m")
    call = Content.from_function_call("c1", "f", arguments="{}")
    agent = ScriptedAgent(["Hel", "lo", update, call, Content.from_function_result("c1", result="ok")])

    updates = [update async for update in agent_for(agent).run("hi", stream=True)]

    assert isinstance(agent, SupportsAgentRun)
    assert [update.text for update in updates] == ["Hel", "lo", "!", "", ""]
    assert updates[2] is update
    assert [update.role for update in updates[3:]] == ["assistant", "tool"]
    agent.assert_done()


async def test_without_stream_it_returns_the_whole_response() -> None:
    reply = await agent_for(ScriptedAgent(["Hel", "lo"])).run("hi")
    assert reply.text == "Hello"


async def test_it_records_what_it_was_asked() -> None:
    agent = ScriptedAgent(["a"], ["b"])
    session = AgentSession()
    message = Message("user", ["one"])

    await agent.run(["zero", message], session=session, options={"temperature": 1})
    message.contents[0].text = "changed"
    await agent.run()

    first, second = agent.calls
    assert [message.text for message in first.messages] == ["zero", "one"]
    assert first.text == "one"
    assert first.session is session
    assert first.options == {"options": {"temperature": 1}}
    assert second.messages == []


async def test_it_raises_what_it_is_told_to_raise() -> None:
    agent = ScriptedAgent(["half", ValueError("boom"), "never"])
    seen: list[str] = []

    async def read() -> None:
        async for update in agent_for(agent).run("hi", stream=True):
            seen.append(update.text)  # noqa: PERF401 - what came before the error must be kept

    with pytest.raises(ValueError, match="boom"):
        await read()

    assert seen == ["half"]
    with pytest.raises(AssertionError, match="turn 1 of 1 stopped before step 3: 'never' is left over"):
        agent.assert_done()


async def test_a_turn_that_is_never_run_is_reported_and_so_is_a_run_too_many() -> None:
    agent = ScriptedAgent(["a"], ["b"])
    await agent.run("hi")
    with pytest.raises(AssertionError, match="turn 2 of 2 was never run"):
        agent.assert_done()

    await agent.run("hi")
    agent.assert_done()
    with pytest.raises(AssertionError, match="run number 3 came, the script has 2 turns"):
        agent.run("hi")


@pytest.mark.parametrize("kind", ["gate", "event", "future", "function"])
async def test_it_stands_still_at_a_pause_until_it_is_let_go(kind: str) -> None:
    event = asyncio.Event()
    arrived = asyncio.Event()

    async def wait() -> None:
        arrived.set()
        await event.wait()

    gate = Gate()
    pause = {"gate": gate, "event": event, "future": asyncio.ensure_future(wait()), "function": wait}[kind]
    agent = ScriptedAgent(["one", pause, "two"])
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        async for update in agent_for(agent).run("hi", stream=True):
            seen.put_nowait(update.text)

    task = asyncio.create_task(read())
    assert await seen.get() == "one"
    assert not task.done()
    assert seen.empty()
    gate.open()
    event.set()
    await task
    assert await seen.get() == "two"
