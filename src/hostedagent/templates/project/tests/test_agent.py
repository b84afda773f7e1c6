"""The agent as its callers see it, without a model, a server or a network."""

from agent_framework import Content  #? tools
from agent_framework import Content  #? !tools mcp
from hostedagent import AgentHost
from hostedagent.doors import Invocations  #? invocations
from hostedagent.testing import OfflineChatClient, serve

from main import build
#? !workflow


async def test_it_answers_with_the_words_of_the_model() -> None:
    model = OfflineChatClient(script=["Hello!"])
    async with (
        serve(AgentHost(build(model)).app) as caller,
        caller.stream("POST", "/responses", json={"input": "hi", "stream": True}) as stream,
    ):
        log = await stream.log()

    assert log.response["status"] == "completed"
    assert log.response["output"][-1]["content"][0]["text"] == "Hello!"
    assert model.calls[0].transcript == ["user: hi"]
#?
#? workflow


async def test_the_editor_has_the_last_word() -> None:
    model = OfflineChatClient(script=["A long draft.", "Short!"])
    async with (
        serve(AgentHost(lambda: build(model)).app) as caller,
        caller.stream("POST", "/responses", json={"input": "hi", "stream": True}) as stream,
    ):
        log = await stream.log()

    assert log.response["status"] == "completed"
    assert log.response["output"][-1]["content"][0]["text"] == "Short!"
    assert len(model.calls) == 2
#?
#? tools


async def test_the_model_sees_what_its_tool_found() -> None:
    asked = Content.from_function_call("call_1", "look_up_order", arguments='{"order": "A1"}')
    model = OfflineChatClient(script=[asked, "It is on its way."])  #? !workflow
    model = OfflineChatClient(script=[asked, "It is on its way.", "On its way!"])  #? workflow
    host = AgentHost(build(model))  #? !workflow
    host = AgentHost(lambda: build(model))  #? workflow
    async with serve(host.app) as caller:
        reply = await caller.post("/responses", json={"input": "Where is order A1?"})

    assert reply.json()["status"] == "completed"
    assert model.calls[1].transcript[-1] == "tool: <- shipped on Monday"
#?
#? approvals


async def test_nothing_is_cancelled_before_the_caller_has_agreed() -> None:
    asked = Content.from_function_call("call_1", "cancel_order", arguments='{"order": "B2"}')
    model = OfflineChatClient(script=[asked, "It is cancelled."])  #? !workflow
    model = OfflineChatClient(script=[asked, "It is cancelled.", "Cancelled!"])  #? workflow
    host = AgentHost(build(model))  #? !workflow
    host = AgentHost(lambda: build(model))  #? workflow
    async with serve(host.app) as caller:
        first = (await caller.post("/responses", json={"input": "Cancel B2."})).json()
        question = first["output"][-1]
        assert question["type"] == "mcp_approval_request"
        assert len(model.calls) == 1

        answer = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        second = await caller.post("/responses", json={"input": [answer], "previous_response_id": first["id"]})

    assert second.json()["status"] == "completed"
    assert model.calls[1].transcript[-1] == "tool: <- B2 is cancelled"
#?
#? mcp


async def test_the_model_sees_what_the_mcp_server_says() -> None:
    asked = Content.from_function_call("call_1", "opening_hours", arguments="{}")
    model = OfflineChatClient(script=[asked, "Until six."])  #? !workflow
    model = OfflineChatClient(script=[asked, "Until six.", "Six!"])  #? workflow
    host = AgentHost(build(model))  #? !workflow
    host = AgentHost(lambda: build(model))  #? workflow
    async with serve(host.app) as caller:
        reply = await caller.post("/responses", json={"input": "When are you open?"})

    assert reply.json()["status"] == "completed"
    assert model.calls[1].transcript[-1] == "tool: <- Monday to Friday, 9 to 18"
#?
#? invocations


async def test_it_answers_an_invocation() -> None:
    model = OfflineChatClient(script=["Hello!"])  #? !workflow
    model = OfflineChatClient(script=["A long draft.", "Hello!"])  #? workflow
    host = AgentHost(build(model), doors=[Invocations()])  #? !workflow
    host = AgentHost(lambda: build(model), doors=[Invocations()])  #? workflow
    async with serve(host.app) as caller:
        reply = await caller.post("/invocations", json={"input": "hi"})

    assert reply.json()["response"].endswith("Hello!")  #? workflow
    assert reply.json()["response"] == "Hello!"  #? !workflow
#?
