"""AG-UI: what front ends send and read, checked with the protocol's own types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import (
    Agent,
    Content,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
    tool,
)

from hostedagent import AgentHost, HostOptions, current_turn
from hostedagent.doors import AgUi
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.doors.front_end import FrontEnd
from tests.host.approving import call
from tests.stores import opened

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
SHOW = {"name": "show_map", "description": "Shows a map.", "parameters": CITY}


@asynccontextmanager
async def hosting(agent: Any, *, door: AgUi | None = None, **given: Any) -> AsyncGenerator[InProcessClient]:
    given.setdefault("driver", "starlette")
    async with opened() as (stores, identified):
        app = AgentHost(agent, doors=[door or AgUi()], stores=stores, **given).app
        async with serve(identified(app)) as client:
            yield client


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_run_is_a_message_between_its_start_and_its_end(driver: Any) -> None:
    usage = Content.from_usage({"input_token_count": 7, "output_token_count": 3, "total_token_count": 10})
    async with hosting(ScriptedAgent(["Hel", "lo.", usage]), driver=driver) as http:
        page = FrontEnd(http)
        events = await page.run("hi")

    assert page.kinds == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert (page.said, events[0].thread_id, events[0].protocol_version) == ("Hello.", page.thread_id, "1.0")
    assert (events[-1].outcome.type, events[-1].usage[0].total_tokens) == ("success", 10)


async def test_a_thread_is_a_conversation_and_nothing_is_lost_or_doubled() -> None:
    model = OfflineChatClient(script=[["One."], ["Two."], ["Three."], ["Four."]])
    async with hosting(Agent(model)) as http:
        page = FrontEnd(http)
        await page.run("first")
        await page.run("second")
        body = {"input": "third", "conversation": page.thread_id}
        await http.post("/responses", json=body, headers={"x-agent-user-id": "ada"})
        await page.run("fourth")
        seen = model.calls[-1].transcript
        await FrontEnd(http, "bob", page.thread_id).run("mine")

    pairs = zip(("first", "second", "third"), ("One.", "Two.", "Three."), strict=True)
    assert seen == [line for asked, said in pairs for line in (f"user: {asked}", f"assistant: {said}")] + [
        "user: fourth"
    ]
    assert model.calls[-1].transcript == ["user: mine"]


async def test_what_a_failed_run_left_is_sent_again() -> None:
    model = OfflineChatClient(script=[["One."], [RuntimeError("secret")], ["Three."]])
    async with hosting(Agent(model)) as http:
        page = FrontEnd(http)
        await page.run("first")
        failed = await page.run("second")
        await page.run("third")

    assert (failed[-1].type, failed[-1].code) == ("RUN_ERROR", "server_error")
    assert "secret" not in failed[-1].message
    assert model.calls[-1].transcript == ["user: first", "assistant: One.", "user: second", "user: third"]


async def test_the_words_of_a_turn_that_showed_nothing_are_not_told_again() -> None:
    model = OfflineChatClient(script=[[""], ["Two."], ["Three."]])
    async with hosting(Agent(model)) as http:
        page = FrontEnd(http)
        await page.run("hi")
        await page.run("hello?")
        await page.run("hello?")

    users = [line for line in model.calls[-1].transcript if line.startswith("user")]
    assert users == ["user: hi", "user: hello?", "user: hello?"]


@pytest.mark.parametrize("again", ["second", "second, edited"])
async def test_what_the_front_end_takes_back_is_no_longer_part_of_its_thread(again: str) -> None:
    model = OfflineChatClient(script=[["One."], ["Two."], ["Elsewhere."], ["New."], ["Last."]])
    async with hosting(Agent(model)) as http:
        page = FrontEnd(http)
        await page.run("first")
        await page.run("second")
        body = {"input": "third", "conversation": page.thread_id}
        await http.post("/responses", json=body, headers={"x-agent-user-id": "ada"})
        asked = page.messages[-2]
        del page.messages[-2:]
        if again == "second":  # Made again, under the same id.
            page.messages.append(asked)
        await page.run(None if again == "second" else again)
        await page.run("last")

    before = ["user: first", "assistant: One.", "user: third", "assistant: Elsewhere."]
    assert model.calls[3].transcript == [*before, f"user: {again}"]
    assert model.calls[4].transcript == [*before, f"user: {again}", "assistant: New.", "user: last"]


@pytest.mark.not_on_foundry("Foundry serves the conversations that it keeps itself")
async def test_what_the_front_end_takes_back_is_no_longer_listed() -> None:
    async with hosting(Agent(OfflineChatClient(script=[["One."], ["Two."], ["New."]]))) as http:
        page = FrontEnd(http)
        await page.run("first")
        await page.run("second")
        del page.messages[-2:]
        await page.run("third")
        reply = await http.get(f"/conversations/{page.thread_id}/items", headers={"x-agent-user-id": "ada"})

    said = [item["content"][0]["text"] for item in reversed(reply.json()["data"])]
    assert said == ["first", "One.", "third", "New."]


async def test_a_question_that_was_taken_back_is_not_asked_any_more() -> None:
    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        raise AssertionError("nobody allowed it")

    model = OfflineChatClient(script=[["Hello."], [call("c1", "pay", to="ann")], ["Fine."], ["Yes."]])
    async with hosting(Agent(model, tools=[pay])) as http:
        page = FrontEnd(http)
        await page.run("hi")
        await page.run("pay ann")
        (asked,) = page.interrupts
        page.messages.pop()
        await page.run("never mind")
        late = {"threadId": page.thread_id, "runId": "late", "messages": page.messages}
        yes = {"interruptId": asked.id, "status": "resolved", "payload": {"approved": True}}
        reply = await http.post("/ag-ui", json={**late, "resume": [yes]}, headers={"x-agent-user-id": "ada"})

    assert model.calls[2].transcript == ["user: hi", "assistant: Hello.", "user: never mind"]
    assert reply.status == 404


async def test_a_workflow_does_not_go_back() -> None:
    async with hosting(build) as http:
        page = FrontEnd(http)
        await page.run("count")
        (asked,) = page.interrupts
        await page.run(resume=[{"interruptId": asked.id, "status": "resolved", "payload": 4}])
        page.messages.pop()
        body = {"threadId": page.thread_id, "runId": "r", "messages": page.messages}
        reply = await http.post("/ag-ui", json=body, headers={"x-agent-user-id": "ada"})

    assert reply.status == 400 and "Begin another conversation" in reply.json()["error"]["message"]


async def test_reasoning_is_a_span() -> None:
    thinking = Content.from_text_reasoning(text="Hm.")
    async with hosting(ScriptedAgent([thinking, "Yes."], ["Again."])) as http:
        page = FrontEnd(http)
        await page.run("hi")
        kinds = page.kinds
        await page.run("and?")

    assert kinds[1:7] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START",
    ]


async def test_the_agents_own_tools_are_shown_with_their_results() -> None:
    @tool(approval_mode="never_require")
    def weather(city: str) -> str:
        return f"Sunny in {city}."

    model = OfflineChatClient(script=[[call("c1", "weather", city="Rome")], ["It is sunny."], ["Yes."]])
    async with hosting(Agent(model, tools=[weather])) as http:
        page = FrontEnd(http)
        events = await page.run("weather?")
        await page.run("sure?")

    results = [event.content for event in events if event.type == "TOOL_CALL_RESULT"]
    starts = [event.tool_call_name for event in events if event.type == "TOOL_CALL_START"]
    assert (starts, results, events[-1].outcome.type) == (["weather"], ["Sunny in Rome."], "success")
    assert [line for line in model.calls[-1].transcript if line.startswith("user")] == ["user: weather?", "user: sure?"]
    assert sum("Sunny in Rome." in line for line in model.calls[-1].transcript) == 1


async def test_a_tool_of_the_front_end_is_left_pending_and_answered_by_the_next_run() -> None:
    model = OfflineChatClient(script=[[call("c1", "show_map", city="Rome")], ["Here is Rome."]])
    async with hosting(Agent(model)) as http:
        page = FrontEnd(http)
        first = await page.run("show Rome", tools=[SHOW])
        page.answer("c1", "shown")
        await page.run(tools=[SHOW])

    assert first[-1].outcome.pending_tool_call_ids == ["c1"]
    assert page.said == "Here is Rome."
    assert sum("shown" in line for line in model.calls[-1].transcript) == 1


@pytest.mark.parametrize(
    ("status", "payload", "ran"),
    [
        ("resolved", {"approved": True}, ["ann"]),
        ("resolved", {"approved": False}, []),
        ("resolved", "yes", []),
        ("cancelled", None, []),
    ],
)
async def test_an_approval_is_an_interrupt_and_only_a_clear_yes_runs_the_tool(
    status: str, payload: Any, ran: list[str]
) -> None:
    paid: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        paid.append(to)
        return "paid"

    model = OfflineChatClient(script=[["Hello."], [call("c1", "pay", to="ann")], ["Done."]])
    async with hosting(Agent(model, tools=[pay])) as http:
        page = FrontEnd(http)
        await page.run("hi")
        await page.run("pay ann")
        (asked,) = page.interrupts
        before = list(paid)
        await page.run(resume=[{"interruptId": asked.id, "status": status, "payload": payload}])

    assert (asked.reason, asked.message, asked.metadata["name"]) == ("tool_call", "Allow pay?", "pay")
    assert before == [] and paid == ran and page.said == "Done."
    assert model.calls[-1].transcript.count("user: pay ann") == 1


class Counter(Executor):
    @handler
    async def start(self, text: str, ctx: WorkflowContext[None, str]) -> None:
        await ctx.request_info("How many?", int)

    @response_handler
    async def told(self, original: str, count: int, ctx: WorkflowContext[None, str]) -> None:
        await ctx.yield_output(f"{count + 1} with mine.")


def build() -> Workflow:
    return WorkflowBuilder(name="count", start_executor=Counter(id="counter")).build()


async def test_a_question_of_a_workflow_is_an_interrupt_that_says_what_it_wants() -> None:
    async with hosting(build) as http:
        page = FrontEnd(http)
        await page.run("count")
        (asked,) = page.interrupts
        await page.run(resume=[{"interruptId": asked.id, "status": "resolved", "payload": 4}])

    assert (asked.reason, asked.message, asked.response_schema) == ("input_required", "How many?", {"type": "integer"})
    assert page.said == "5 with mine."


async def test_agent_and_front_end_share_state() -> None:
    @tool(approval_mode="never_require")
    def add(item: str) -> str:
        state = current_turn().state
        assert state is not None
        state["cart"] = [*state["cart"], item]
        return "added"

    model = OfflineChatClient(script=[[call("c1", "add", item="bike")], ["Added."]])
    async with hosting(Agent(model, tools=[add])) as http:
        page = FrontEnd(http, state={"cart": ["lamp"], "note": None})
        events = await page.run("add a bike", context=[{"description": "page", "value": "shop"}])

    assert [event.snapshot for event in events if event.type == "STATE_SNAPSHOT"] == [page.state]
    assert page.state == {"cart": ["lamp", "bike"], "note": None}
    assert 'Shared state: {"cart":["lamp"],"note":null}' in "\n".join(model.calls[0].transcript)
    assert "page: shop" in "\n".join(model.calls[0].transcript)


@pytest.mark.parametrize(
    ("value", "sent"),
    [(object(), []), ("\ud800", []), (float("nan"), [{"cart": None}]), ({"lamp"}, [{"cart": ["lamp"]}])],
)
async def test_state_that_is_no_json_does_not_end_the_run(value: Any, sent: list[Any]) -> None:
    @tool(approval_mode="never_require")
    def fill() -> str:
        state = current_turn().state
        assert state is not None
        state["cart"] = value
        return "full"

    model = OfflineChatClient(script=[[call("c1", "fill")], ["It is full."]])
    async with hosting(Agent(model, tools=[fill])) as http:
        page = FrontEnd(http, state={"cart": []})
        events = await page.run("fill it")

    assert [event.snapshot for event in events if event.type == "STATE_SNAPSHOT"] == sent
    assert (page.said, page.kinds[-1]) == ("It is full.", "RUN_FINISHED")


async def test_a_resumable_run_goes_on_without_its_connection_and_is_read_again() -> None:
    gate = Gate()
    async with hosting(ScriptedAgent(["Hel", gate, "lo."]), door=AgUi(resumable=True)) as http:
        page = FrontEnd(http)
        asking = asyncio.create_task(page.run("hi", runId="run-1"))
        await gate.reached()
        asking.cancel()
        await asyncio.wait({asking})
        page.messages.append({"id": "cut", "role": "assistant", "content": "Hel"})
        gate.open()
        again = await page.run(runId="run-1")
        third = await page.run(runId="run-1")

    assert page.kinds[:3] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "TEXT_MESSAGE_START"]
    assert page.said == "Hello." and again[-1].outcome.type == third[-1].outcome.type == "success"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"threadId": "t", "runId": "r"}, "messages"),
        ({"threadId": "t", "runId": "r", "messages": []}, "messages"),
        ({"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "none"}]}, "messages.0"),
    ],
)
async def test_what_is_no_run_is_refused_before_anything_runs(body: Any, param: str) -> None:
    agent = ScriptedAgent()
    async with hosting(agent) as http:
        reply = await http.post("/ag-ui", json=body)

    assert (reply.status, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(("interrupt", "status"), [("mcpr_none", 404), ("none", 400)])
async def test_an_answer_to_nothing_is_refused_without_names_of_another_protocol(interrupt: str, status: int) -> None:
    async with hosting(ScriptedAgent()) as http:
        answer = {"interruptId": interrupt, "status": "resolved", "payload": {"approved": True}}
        body = {"threadId": "t", "runId": "r", "messages": [], "resume": [answer]}
        reply = await http.post("/ag-ui", json=body)

    assert (reply.status, reply.json()["error"]["param"]) == (status, "messages")


async def test_images_and_documents_reach_the_agent() -> None:
    agent = ScriptedAgent(["Seen."])
    image = {"type": "image", "source": {"type": "data", "value": "iVBORw0KGgo=", "mimeType": "image/png"}}
    page_ = {"type": "document", "source": {"type": "url", "value": "https://example.com/a.pdf"}}
    async with hosting(agent, options=HostOptions()) as http:
        page = FrontEnd(http)
        page.messages.append({"id": "m", "role": "user", "content": [{"type": "text", "text": "see"}, image, page_]})
        await page.run()

    assert [content.type for content in agent.calls[0].messages[-1].contents] == ["text", "data", "uri"]
