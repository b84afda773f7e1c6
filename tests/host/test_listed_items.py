"""Items in lists: complete as the protocol has them, however short the form is in which a caller sent them."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.conversations import ConversationItem
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.testing import ScriptedAgent, serve

_IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}
_OPENAI: Any = TypeAdapter(ResponseItem)
_CONVERSATION: Any = TypeAdapter(ConversationItem)

GIVEN: list[list[Any]] = [
    [{"role": "user", "content": "hi"}],
    [{"role": "developer", "content": "Be brief."}],
    [{"role": "assistant", "content": "hello"}],
    [{"role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}],
    [{"role": "user", "content": [{"type": "input_text", "text": "see"}, _IMAGE]}],
    [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ],
    [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [_IMAGE]},
    ],
    [
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
    ],
    [
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
    ],
]


def check(items: list[Any], openai: Any) -> None:
    for item in items:
        openai.validate_python(item)
        assert item["status"] == "completed"


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: given[-1].get("type", given[-1].get("role")))
@pytest.mark.parametrize("driver", ["starlette", "agentserver"])
async def test_the_input_items_of_a_response_are_complete(given: list[Any], driver: Driver) -> None:
    sent = [*given, {"role": "user", "content": "go"}]
    async with serve(AgentHost(ScriptedAgent(["done"]), driver=driver).app) as client:
        made = (await client.post("/responses", json={"model": "m", "input": sent})).json()
        listed = (await client.get(f"/responses/{made['id']}/input_items?order=asc")).json()["data"]

    assert [item["type"] for item in listed] == [item.get("type", "message") for item in sent]
    check(listed, _OPENAI)


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: given[-1].get("type", given[-1].get("role")))
async def test_the_items_of_a_conversation_are_complete(given: list[Any]) -> None:
    async with serve(AgentHost(ScriptedAgent(), driver="starlette").app) as client:
        conversation = (await client.post("/conversations", json={"items": given})).json()["id"]
        listed = (await client.get(f"/conversations/{conversation}/items?order=asc")).json()["data"]
        one = (await client.get(f"/conversations/{conversation}/items/{listed[0]['id']}")).json()

    assert one == listed[0]
    check(listed, _CONVERSATION)


async def test_a_compacted_conversation_has_complete_messages() -> None:
    async with serve(AgentHost(ScriptedAgent(), driver="starlette").app) as client:
        body = {"input": [{"role": "user", "content": "hi"}, {"role": "user", "content": [_IMAGE]}]}
        output = (await client.post("/responses/compact", json=body)).json()["output"]

    assert [item["type"] for item in output] == ["message", "message", "compaction"]
    check(output[:-1], _OPENAI)
