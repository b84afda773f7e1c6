"""Conversations: the model sees exactly what was said, once each, whichever way the turns are joined."""

import asyncio
from typing import Any

import pytest
from agent_framework import Agent, Content, tool

from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent
from tests.host.world import Writes, assert_refusal, hosting, stream

CALL: dict[str, Any] = {"type": "function", "name": "ask_user", "parameters": {"type": "object", "properties": {}}}


@tool
def look_up(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


def three_turns() -> tuple[Agent[Any], OfflineChatClient]:
    call = Content.from_function_call("c1", "look_up", arguments='{"city":"Paris"}')
    client = OfflineChatClient(script=[[call], "It is sunny.", "You asked about Paris.", "Goodbye."])
    return Agent(client, tools=[look_up]), client


TRANSCRIPT = [
    "user: How is Paris?",
    'assistant: -> look_up({"city":"Paris"})',
    "tool: <- sunny in Paris",
    "assistant: It is sunny.",
    "user: What did I ask?",
    "assistant: You asked about Paris.",
    "user: Bye.",
]


def joined(model: OfflineChatClient) -> list[str]:
    return model.calls[-1].transcript


@pytest.mark.parametrize("streams", [True, False])
async def test_three_turns_by_previous_response(streams: bool) -> None:
    agent, model = three_turns()

    async with hosting(agent) as http, http.openai() as client:
        api: Any = client
        previous: Any = None
        for text in ("How is Paris?", "What did I ask?", "Bye."):
            more: dict[str, Any] = {"previous_response_id": previous} if previous else {}
            if streams:
                async with api.responses.stream(model="m", input=text, **more) as events:
                    previous = (await events.get_final_response()).id
            else:
                previous = (await api.responses.create(model="m", input=text, **more)).id

    assert joined(model) == TRANSCRIPT
    model.assert_done()


@pytest.mark.parametrize("streams", [True, False])
async def test_three_turns_by_conversation(streams: bool) -> None:
    agent, model = three_turns()

    async with hosting(agent) as http, http.openai() as api:
        for text in ("How is Paris?", "What did I ask?", "Bye."):
            if streams:
                async with api.responses.stream(model="m", input=text, conversation="conv_1") as events:
                    await events.until_done()
            else:
                await api.responses.create(model="m", input=text, conversation="conv_1")

    assert joined(model) == TRANSCRIPT
    model.assert_done()


def texts(agent: ScriptedAgent, n: int) -> list[str]:
    return [f"{message.role}: {message.text}" for message in agent.calls[n].messages]


async def say(http: InProcessClient, text: str, **fields: Any) -> str:
    reply = await http.post("/responses", json={"input": text, **fields})
    assert reply.status == 200, reply.text
    return reply.json()["id"]


async def test_a_conversation_branches_from_any_response() -> None:
    agent = ScriptedAgent(["A"], ["B"], ["C"], ["D"])

    async with hosting(agent) as http:
        first = await say(http, "a")
        second = await say(http, "b", previous_response_id=first)
        await say(http, "c", previous_response_id=first)
        await say(http, "d", previous_response_id=second)

    assert texts(agent, 2) == ["user: a", "assistant: A", "user: c"]
    assert texts(agent, 3) == ["user: a", "assistant: A", "user: b", "assistant: B", "user: d"]


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_words_that_are_said_again_are_kept(by: str) -> None:
    agent = ScriptedAgent(["yes"], ["yes"], ["yes"])

    async with hosting(agent) as http:
        previous: str | None = None
        for _ in range(3):
            more = {"conversation": "conv_1"} if by == "conversation" else {"previous_response_id": previous}
            previous = await say(http, "again", **more)

    assert texts(agent, 2) == ["user: again", "assistant: yes"] * 2 + ["user: again"]


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_the_next_turn_may_begin_with_the_terminal_event(by: str) -> None:
    turns = 25
    agent = ScriptedAgent(*([f"A{n}"] for n in range(turns)))

    async with hosting(agent) as http:
        previous: str | None = None
        for n in range(turns):
            more = {"conversation": "conv_1"} if by == "conversation" else {"previous_response_id": previous}
            body = {"input": f"q{n}", "stream": True, **more}
            async with http.stream("POST", "/responses", json=body) as events:
                # Hangs up at the terminal event, before the server has ended the stream.
                previous = (await events.until("response.completed"))["response"]["id"]

    expected = [line for n in range(turns - 1) for line in (f"user: q{n}", f"assistant: A{n}")]
    assert texts(agent, turns - 1) == [*expected, f"user: q{turns - 1}"]


FAILURES: dict[str, list[Any]] = {
    "at once": [RuntimeError("no")],
    "in the middle": ["Half a", RuntimeError("no")],
    "after a call": [Content.from_function_call("c9", "f", arguments="{}"), RuntimeError("no")],
}


@pytest.mark.parametrize("steps", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_a_failed_turn_leaves_no_trace_in_the_next_prompt(by: str, steps: list[Any]) -> None:
    agent = ScriptedAgent(["A"], steps, ["C"], ["D"])

    async with hosting(agent) as http:
        first = await say(http, "a", **({"conversation": "conv_1"} if by == "conversation" else {}))
        more = {"conversation": "conv_1"} if by == "conversation" else {"previous_response_id": first}
        failed = await stream(http, input="b", **more)
        assert failed.status == "failed"
        await say(http, "c", **more)
        if by == "previous_response_id":
            more = {"previous_response_id": failed.response["id"]}
        await say(http, "d", **more)

    assert texts(agent, 2) == ["user: a", "assistant: A", "user: c"]
    if by == "conversation":
        assert texts(agent, 3) == ["user: a", "assistant: A", "user: c", "assistant: C", "user: d"]
    else:
        assert texts(agent, 3) == ["user: a", "assistant: A", "user: d"]


async def test_a_cancelled_turn_leaves_no_trace_in_the_next_prompt() -> None:
    gate = Gate()
    agent = ScriptedAgent(["A"], ["Half a", gate], ["C"])

    async with hosting(agent) as http:
        await say(http, "a", conversation="conv_1")
        stopped = await say(http, "b", conversation="conv_1", background=True)
        await gate.reached()
        await http.post(f"/responses/{stopped}/cancel")
        await say(http, "c", conversation="conv_1")

    assert texts(agent, 2) == ["user: a", "assistant: A", "user: c"]


async def test_a_turn_that_is_not_stored_is_not_remembered() -> None:
    agent = ScriptedAgent(["A"], ["B"], ["C"])

    async with hosting(agent) as http:
        first = await say(http, "a")
        unstored = await say(http, "b", previous_response_id=first, store=False)
        await say(http, "c", previous_response_id=first)
        refused = await http.post("/responses", json={"input": "d", "previous_response_id": unstored})

    assert_refusal(refused, 404)
    assert texts(agent, 1) == ["user: a", "assistant: A", "user: b"]
    assert texts(agent, 2) == ["user: a", "assistant: A", "user: c"]


async def asked(http: InProcessClient) -> str:
    """A turn that ends with a call for the caller to run."""
    reply = await http.post("/responses", json={"input": "Which city?", "tools": [CALL]})
    assert [item["type"] for item in reply.json()["output"]] == ["function_call"]
    return reply.json()["id"]


def answering(previous: str | None, *call_ids: str, **more: Any) -> dict[str, Any]:
    outputs = [{"type": "function_call_output", "call_id": call_id, "output": "Oslo"} for call_id in call_ids]
    return {"input": outputs, "previous_response_id": previous, "tools": [CALL], **more}


def asking() -> tuple[Agent[Any], OfflineChatClient]:
    model = OfflineChatClient(script=[[Content.from_function_call("c1", "ask_user", arguments="{}")], "Oslo it is."])
    return Agent(model), model


async def test_the_answer_to_a_call_finds_it_in_the_history() -> None:
    agent, model = asking()

    async with hosting(agent) as http:
        reply = await http.post("/responses", json=answering(await asked(http), "c1"))

    assert reply.json()["status"] == "completed"
    assert joined(model) == ["user: Which city?", "assistant: -> ask_user({})", "tool: <- Oslo"]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    "call_ids", [("c2",), ("c1", "c1"), ("c1", "c2"), ("",)], ids=["unknown", "twice", "one of two", "empty"]
)
async def test_an_answer_that_fits_no_open_call_is_refused(
    call_ids: tuple[str, ...], streams: bool, writes: Writes
) -> None:
    agent, model = asking()

    async with hosting(agent) as http:
        previous = await asked(http)
        written = len(writes.created)
        reply = await http.post("/responses", json=answering(previous, *call_ids, stream=streams))

    error = assert_refusal(reply, 400)
    assert error["param"] == f"input[{len(call_ids) - 1}].call_id"
    assert len(model.calls) == 1
    assert len(writes.created) == written


async def test_a_call_is_answered_once_in_a_conversation() -> None:
    agent, _ = asking()

    async with hosting(agent) as http:
        first = await asked(http)
        second = (await http.post("/responses", json=answering(first, "c1"))).json()["id"]
        error = assert_refusal(await http.post("/responses", json=answering(second, "c1")), 400)

    assert "answered before" in error["message"]


async def test_the_answer_after_an_unknown_response_is_not_found() -> None:
    unknown = f"caresp_{'0' * 16}00{'x' * 32}"

    async with hosting(ScriptedAgent()) as http:
        assert_refusal(await http.post("/responses", json=answering(unknown, "c1")), 404)


async def test_an_item_may_be_referred_to() -> None:
    agent = ScriptedAgent(["A"], ["B"])

    async with hosting(agent) as http:
        said = (await stream(http, input="a")).items[0]
        body = {"input": [{"type": "item_reference", "id": said["id"]}, {"role": "user", "content": "b"}]}
        await http.post("/responses", json=body)

    assert texts(agent, 1) == ["assistant: A", "user: b"]


async def test_a_call_may_be_referred_to_and_answered() -> None:
    agent, model = asking()

    async with hosting(agent) as http:
        call = (await stream(http, input="Which city?", tools=[CALL])).items[0]
        answer = {"type": "function_call_output", "call_id": "c1", "output": "Oslo"}
        log = await stream(http, input=[{"type": "item_reference", "id": call["id"]}, answer], tools=[CALL])

    assert log.status == "completed"
    assert joined(model) == ["assistant: -> ask_user({})", "tool: <- Oslo"]


async def test_an_item_of_somebody_else_is_not_there() -> None:
    agent = ScriptedAgent(["A"])

    async with hosting(agent) as http:
        said = (await stream(http, input="a")).items[0]
        body = {"input": [{"type": "item_reference", "id": said["id"]}]}
        reply = await http.post("/responses", json=body, headers={"x-agent-user-id": "mallory"})

    assert assert_refusal(reply, 404)["param"] == "input[0].id"


async def test_turns_of_one_conversation_at_once_do_not_mix_their_words() -> None:
    agent = ScriptedAgent(["A"], ["B"])

    async with hosting(agent) as http:
        await asyncio.gather(say(http, "a", conversation="conv_1"), say(http, "b", conversation="conv_2"))

    assert sorted(texts(agent, 0) + texts(agent, 1)) == ["user: a", "user: b"]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_an_answer_may_be_sent_again_after_its_turn_failed(by: str, streams: bool) -> None:
    call = Content.from_function_call("c1", "ask_user", arguments="{}")
    model = OfflineChatClient(script=[[call], ["Half a", RuntimeError("no")], "Oslo it is."])

    async with hosting(Agent(model)) as http:
        more: dict[str, Any] = {"conversation": "conv_1"} if by == "conversation" else {}
        first = (await stream(http, input="Which city?", tools=[CALL], **more)).response["id"]
        body = answering(first if by == "previous_response_id" else None, "c1", **more)
        failed = await http.post("/responses", json={**body, "stream": streams})
        again = await http.post("/responses", json=body)

    assert (failed.log().status if streams else failed.json()["status"]) == "failed"
    assert again.status == 200, again.text
    assert joined(model) == ["user: Which city?", "assistant: -> ask_user({})", "tool: <- Oslo"]


async def test_a_first_turn_that_failed_can_be_continued_as_if_it_had_not_been() -> None:
    agent = ScriptedAgent([RuntimeError("broken")], ["B"])

    async with hosting(agent) as http:
        failed = (await stream(http, input="a")).response["id"]
        await say(http, "b", previous_response_id=failed)

    assert texts(agent, 1) == ["user: b"]


async def test_an_item_reference_may_be_nothing_but_an_id() -> None:
    model = OfflineChatClient()
    async with hosting(Agent(model)) as client:
        first = (await client.post("/responses", json={"input": "My name is Ada."})).json()
        given = [{"id": first["output"][0]["id"]}, {"role": "user", "content": "And?"}]
        reply = await client.post("/responses", json={"input": given})

    assert reply.status == 200
    assert model.calls[-1].transcript == ["assistant: Nice to meet you, Ada.", "user: And?"]
