"""Compaction: `/responses/compact`, `context_management`, and what a compaction item stands for on its way back."""

import asyncio
from typing import Any

import openai
import pytest
from agent_framework import Agent, Content, InMemoryHistoryProvider, SlidingWindowStrategy, tool

from hostedagent import AgentHost, CallerPolicy, HeaderScopeResolver, HostOptions
from hostedagent.host import Driver
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent, serve
from tests.host.world import assert_refusal, hosting, stream

AT_ONCE: list[Any] = [{"type": "compaction", "compact_threshold": 1}]
CALL: dict[str, Any] = {"type": "function", "name": "ask_user", "parameters": {"type": "object", "properties": {}}}


@tool
def look_up(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


def model(*script: Any, **given: Any) -> tuple[Agent[Any], OfflineChatClient]:
    client = OfflineChatClient(script=[*script])
    return Agent(client, **given), client


def dumped(items: Any) -> list[Any]:
    return [item.model_dump(warnings=False) for item in items]


async def test_a_compacted_chain_begins_a_new_one_that_the_model_understands() -> None:
    agent, client = model("Long story.", "Summary.", "Yes.", instructions="Be kind.")
    async with hosting(agent) as http, http.openai() as opened:
        api: Any = opened.responses
        first = await api.create(input="Tell me.", instructions="Rhyme.")
        compacted = await api.compact(model="m", previous_response_id=first.id)
        given = [*dumped(compacted.output), {"role": "user", "content": "Again?"}]
        answer = await api.create(input=given)
        await api.retrieve(answer.id)

    assert compacted.object == "response.compaction" and compacted.usage.total_tokens > 0
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert "story" not in compacted.output[1].encrypted_content
    assert client.calls[-1].transcript == ["assistant: Summary.", "assistant: Long story.", "user: Again?"]
    assert client.calls[1].options.get("store") is not True


async def test_a_compacted_input_goes_back_as_it_is_and_can_be_compacted_again() -> None:
    agent, client = model("Summary 1.", "Fine.", "Summary 2.", "Good.")
    items: list[Any] = [
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three."},
    ]
    async with hosting(agent) as http, http.openai() as opened:
        api: Any = opened.responses
        for said in ("Four.", "Five."):
            items = dumped((await api.compact(model="m", input=items)).output)
            answer = await api.create(input=[*items, {"role": "user", "content": said}], store=False)
            items += [{"role": "user", "content": said}, *dumped(answer.output)]

    assert client.calls[1].transcript == ["assistant: Summary 1.", "user: Three.", "user: Four."]
    assert client.calls[3].transcript == ["assistant: Summary 2.", "assistant: Fine.", "user: Five."]
    assert [item.get("type") for item in items].count("compaction") == 1


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("joins", ["previous_response_id", "conversation", "input"])
async def test_a_conversation_that_is_too_long_is_compacted_in_front_of_the_answer(joins: str, streams: bool) -> None:
    agent, client = model("One.", "Summary.", "Two.", "Three.")
    async with hosting(agent) as http:
        last: Any = {}
        said: list[Any] = []
        for n, text in enumerate(("First.", "Second.", "Third.")):
            more: dict[str, Any] = {"context_management": AT_ONCE} if n == 1 else {}
            said += [{"role": "user", "content": text}]
            match joins:
                case "conversation":
                    more |= {"input": text, "conversation": "c"}
                case "previous_response_id":
                    more |= {"input": text} | ({"previous_response_id": last["id"]} if last else {})
                case _:
                    more |= {"input": said, "store": False}
            if streams:
                last = (await stream(http, **more)).response
            else:
                last = (await http.post("/responses", json=more)).json()
            said += last["output"]
            if n == 1:
                assert [item["type"] for item in last["output"]] == ["compaction", "message"]
                assert last["usage"]["output_tokens"] == 2, "the summary is counted too"

    summarized = " ".join(client.calls[1].transcript)
    assert "First." in summarized and "One." in summarized and "Second." not in summarized
    assert client.calls[2].transcript == ["assistant: Summary.", "user: Second."]
    assert client.calls[3].transcript == ["assistant: Summary.", "user: Second.", "assistant: Two.", "user: Third."]


async def test_all_messages_but_the_last_are_compacted_where_no_agent_has_answered_yet() -> None:
    agent, client = model("Summary.", "Fine.")
    said = [{"role": "user", "content": text} for text in ("First.", "Second.", "Third.")]
    async with hosting(agent) as http:
        await stream(http, input=said, context_management=AT_ONCE)

    summarized = " ".join(client.calls[0].transcript)
    assert "First." in summarized and "Second." in summarized and "Third." not in summarized
    assert client.calls[1].transcript == ["assistant: Summary.", "user: Third."]


async def test_an_agent_with_a_session_and_tools_is_compacted_too() -> None:
    call = Content.from_function_call("c1", "look_up", arguments='{"city":"Rome"}')
    agent, client = model(
        [call], "Sunny.", "Summary.", "Two.", "Three.", tools=[look_up], context_providers=[InMemoryHistoryProvider()]
    )
    async with hosting(agent) as http:
        first = (await stream(http, input="Rome?")).response
        second = (
            await stream(http, input="And?", previous_response_id=first["id"], context_management=AT_ONCE)
        ).response
        await stream(http, input="Bye.", previous_response_id=second["id"])

    assert second["output"][0]["type"] == "compaction"
    assert client.calls[3].transcript == ["assistant: Summary.", "user: And?"]
    assert client.calls[4].transcript == ["assistant: Summary.", "user: And?", "assistant: Two.", "user: Bye."]


async def test_nothing_is_compacted_below_the_threshold_or_without_history() -> None:
    agent, client = model("One.", "Two.", "Three.")
    short: Any = [{"type": "compaction", "compact_threshold": 100_000}]
    async with hosting(agent) as http:
        first = (await stream(http, context_management=AT_ONCE)).response
        for managed in (short, [{"type": "compaction"}]):
            log = await stream(http, previous_response_id=first["id"], context_management=managed)
            assert [item["type"] for item in log.response["output"]] == ["message"]

    assert [item["type"] for item in first["output"]] == ["message"] and len(client.calls) == 3


async def test_a_call_that_waits_for_its_output_is_not_compacted_away() -> None:
    call = Content.from_function_call("c1", "ask_user", arguments="{}")
    agent, client = model("One.", [call], "Summary.", "Thanks.", "Summary.", "Fine.")
    async with hosting(agent) as http, http.openai() as opened:
        api: Any = opened.responses
        first = await api.create(input="First.")
        second = await api.create(input="Ask.", tools=[CALL], previous_response_id=first.id)
        compacted = await api.compact(model="m", previous_response_id=second.id)
        output = {"type": "function_call_output", "call_id": "c1", "output": "yes"}
        await api.create(input=[*dumped(compacted.output), output], tools=[CALL])
        log = await stream(http, input=[output], previous_response_id=second.id, context_management=AT_ONCE)

    assert [item.type for item in compacted.output] == ["message", "compaction", "message", "function_call"]
    asked = ["user: Ask.", "assistant: -> ask_user({})", "tool: <- yes"]
    assert client.calls[3].transcript == ["assistant: Summary.", "assistant: One.", *asked]
    assert client.calls[5].transcript == ["assistant: Summary.", *asked]
    assert log.response["status"] == "completed"


async def test_system_messages_stay_where_they_are() -> None:
    agent, client = model("Summary.", "Fine.")
    options = HostOptions(caller=CallerPolicy(instructions="append"))
    async with hosting(agent, options=options) as http, http.openai() as opened:
        api: Any = opened.responses
        system = {"role": "system", "content": "Whisper."}
        compacted = await api.compact(model="m", input=[system, *_talk()])
        await api.create(input=[system, *dumped(compacted.output), {"role": "user", "content": "Go."}])

    assert client.calls[1].transcript == ["system: Whisper.", "assistant: Summary.", "user: Three.", "user: Go."]


def _talk() -> list[Any]:
    return [
        {"role": role, "content": text} for role, text in (("user", "One."), ("assistant", "Two."), ("user", "Three."))
    ]


async def test_what_was_compacted_for_one_caller_opens_for_no_other(driver: Driver) -> None:
    agent, client = model("Summary.", "Fine.")
    host = AgentHost(agent, driver=driver, resolve_scope=HeaderScopeResolver(header="x-user"))
    async with serve(host.app) as http:

        async def post(user: str, path: str, items: list[Any]) -> Any:
            return await http.post(path, json={"input": items}, headers={"x-user": user})

        items = (await post("ann", "/responses/compact", _talk())).json()["output"]
        sealed = items[-1]["encrypted_content"]
        changed = [{**items[-1], "encrypted_content": f"{sealed[:-8]}AAAAAAAA"}]
        cut = [{**items[-1], "encrypted_content": sealed[:30]}]
        for user, sent in (("bob", items[-1:]), ("ann", changed), ("ann", cut)):
            for path in ("/responses", "/responses/compact"):
                error = assert_refusal(await post(user, path, [*sent, {"role": "user", "content": "Go."}]), 400)
                assert error["param"] == "input[0].encrypted_content"
        assert (await post("ann", "/responses", [*items, {"role": "user", "content": "Go."}])).status == 200

    assert len(client.calls) == 2


async def test_an_item_of_another_service_is_kept_and_says_nothing() -> None:
    agent, client = model("Fine.")
    async with hosting(agent) as http:
        item = {"type": "compaction", "encrypted_content": "gAAAAB"}
        await stream(http, input=[*_talk(), item, {"role": "user", "content": "Go."}])

    assert (
        client.calls[0].transcript[-2:] == ["assistant: [compaction]", "user: Go."]
        and len(client.calls[0].messages) > 3
    )


async def test_the_strategy_of_the_host_counts_and_then_that_of_the_agent() -> None:
    window = SlidingWindowStrategy(keep_last_groups=1)
    for options, given in ((HostOptions(compaction=window), {}), (None, {"compaction_strategy": window})):
        agent, client = model("Fine.", **given)
        async with hosting(agent, options=options) as http, http.openai() as opened:
            api: Any = opened.responses
            compacted = await api.compact(model="m", input=_talk())
            await api.create(input=[*dumped(compacted.output[-1:]), {"role": "user", "content": "Go."}])
        assert client.calls[0].transcript[-1] == "user: Go." and len(client.calls) == 1
        assert "user: One." not in client.calls[0].transcript


async def test_an_agent_without_a_chat_client_keeps_its_words() -> None:
    agent = ScriptedAgent(["Fine."])
    async with hosting(agent) as http:
        made = (await http.post("/responses/compact", json={"input": _talk()})).json()
        await stream(http, input=[made["output"][-1], {"role": "user", "content": "Go."}])

    assert [message.text for message in agent.calls[0].messages] == ["One.", "Two.", "Three.", "Go."]
    assert made["usage"]["total_tokens"] == 0


async def test_an_agent_without_a_chat_client_gets_the_calls_before_its_turn_as_text_and_those_of_it_as_calls() -> None:
    agent = ScriptedAgent(["Fine."])
    rows = [{"role": "user", "content": "One."}, *_called("c1", "1"), {"role": "user", "content": "Two."}]
    async with hosting(agent) as http:
        await stream(http, input=[*rows, *_called("c2", "2")], context_management=AT_ONCE)

    shown = [
        (message.role, content.text or content.result or content.name)
        for message in agent.calls[0].messages
        for content in message.contents
    ]
    before = [("user", "One."), ("assistant", "[Tool results: ask_user: 1]")]
    assert shown == [*before, ("user", "Two."), ("assistant", "ask_user"), ("tool", "2")]


def _called(call_id: str, output: str) -> list[Any]:
    return [
        {"type": "function_call", "call_id": call_id, "name": "ask_user", "arguments": "{}"},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


async def test_a_summary_that_fails_fails_the_request_and_not_the_turn() -> None:
    agent, client = model("One.", RuntimeError("secret"), RuntimeError("secret"), "Two.")
    async with hosting(agent) as http:
        first = (await stream(http)).response
        refused = await http.post("/responses/compact", json={"previous_response_id": first["id"]})
        second = await stream(http, input="Go.", previous_response_id=first["id"], context_management=AT_ONCE)

    assert refused.status == 500 and b"secret" not in refused.body and refused.json()["error"]["code"] == "server_error"
    assert client.calls[-1].transcript == ["user: hi", "assistant: One.", "user: Go."]
    assert [item["type"] for item in second.response["output"]] == ["message"]


@pytest.mark.one_replica("max_turns counts the turns of one process")
async def test_compacting_takes_the_place_of_a_turn() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, "done"])
    async with hosting(agent, options=HostOptions(max_turns=1)) as http:
        running = asyncio.create_task(stream(http))
        await gate.reached()
        refused = await http.post("/responses/compact", json={"input": "hi"})
        gate.open()
        await running
        assert (await http.post("/responses/compact", json={"input": "hi"})).status == 200
        assert (await http.post("/responses/compact", json={"input": "hi"})).status == 200

    assert_refusal(refused, 429)


@pytest.mark.parametrize(
    "managed",
    [
        {},
        "x",
        [1],
        [{}],
        [{"type": "other"}],
        [AT_ONCE[0], AT_ONCE[0]],
        *([[{**AT_ONCE[0], "compact_threshold": n}] for n in (0, -1, True, "9", 1.5)]),
    ],
)
async def test_malformed_settings_are_refused(managed: Any) -> None:
    async with hosting(ScriptedAgent(["x"])) as http:
        error = assert_refusal(await http.post("/responses", json={"input": "hi", "context_management": managed}), 400)
    assert error["param"].startswith("context_management")


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": [{"type": "x"}]}, {"previous_response_id": "resp_x"}])
async def test_a_conversation_that_does_not_exist_is_not_compacted(body: Any) -> None:
    async with hosting(ScriptedAgent(["x"])) as http:
        assert_refusal(await http.post("/responses/compact", json=body))


async def test_only_a_host_that_keeps_items_compacts() -> None:
    agent, _ = model("x", context_providers=[InMemoryHistoryProvider()])
    async with hosting(agent, options=HostOptions(history="session")) as http, http.openai() as opened:
        api: Any = opened.responses
        with pytest.raises(openai.BadRequestError):
            await api.compact(model="m", input="hi")
        with pytest.raises(openai.BadRequestError) as refused:
            await api.create(input="hi", context_management=AT_ONCE)
    assert refused.value.param == "context_management"
