"""Text that a caller or a model wrote as JSON, nested so deeply that it cannot be parsed, is text like any other."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from agent_framework import Agent, Content

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.testing import OfflineChatClient, serve

DEEP: Final = '{"response_schema": ' * 50_000 + "1" + "}" * 50_000
IMAGES: Final = '[{"type": "input_image", "image_url": ' + "[" * 50_000 + "]" * 50_000 + "}]"
USER: Final = {"role": "user", "content": "hi"}
CALL: Final = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}

INPUTS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "the arguments of a call": [
        {**CALL, "arguments": DEEP},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ],
    "the output of a call": [CALL, {"type": "function_call_output", "call_id": "c", "output": IMAGES}],
    "the output of a server": [
        {"type": "mcp_call", "id": "m", "server_label": "agent", "name": "f", "arguments": DEEP, "output": IMAGES}
    ],
    "the output of a shell": [
        {
            "type": "local_shell_call",
            "id": "s",
            "call_id": "c",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "c", "output": DEEP},
    ],
}


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("what", INPUTS)
async def test_text_of_a_caller_that_cannot_be_parsed_is_passed_on(what: str, driver: Driver) -> None:
    model = OfflineChatClient(script=["ok"])

    async with serve(AgentHost(Agent(model), driver=driver).app) as client:
        reply = await client.post("/responses", json={"input": [*INPUTS[what], USER]})

    assert (reply.status, reply.json()["status"]) == (200, "completed"), reply.text
    assert model.calls[0].transcript[-1] == "user: hi"


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_call_that_cannot_be_parsed_is_answered_by_its_caller(driver: Driver) -> None:
    model = OfflineChatClient(script=[[Content.from_function_call("c", "f", arguments=DEEP)], "ok"])
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]

    async with serve(AgentHost(Agent(model), driver=driver).app) as client:
        asked = (await client.post("/responses", json={"input": "hi", "tools": tools})).json()
        answer = {"type": "function_call_output", "call_id": "c", "output": "1"}
        reply = await client.post("/responses", json={"input": [answer], "previous_response_id": asked["id"]})

    assert (reply.status, reply.json()["status"]) == (200, "completed"), reply.text
    assert json.loads(str(model.calls[1].messages[-2].contents[0].arguments)) == {"raw": DEEP}
