"""What clients send without meaning anything by it is accepted, and what they send back continues the conversation."""

from __future__ import annotations

from typing import Any, cast

import pytest
from agent_framework import Content

from hostedagent import CallerPolicy, HostOptions
from hostedagent.testing import ScriptedAgent
from tests.host.world import assert_refusal, hosting

USER = {"role": "user", "content": "And then?"}
CITED = {"type": "output_text", "text": "Hi", "annotations": [
    {"type": "url_citation", "url": "https://a.example", "title": None, "start_index": 0, "end_index": 2}]}  # fmt: skip

ITEMS: dict[str, dict[str, Any]] = {
    "reasoning as Codex sends it": {"type": "reasoning", "id": "rs_1", "summary": [], "content": None,
                                    "encrypted_content": "blob"},
    "reasoning without an id": {"type": "reasoning", "summary": [], "encrypted_content": "blob"},
    "reasoning with nothing": {"type": "reasoning", "id": "rs_1", "summary": None, "status": None},
    "a text with null fields": {"role": "assistant", "content": [
        {"type": "output_text", "text": "Hi", "annotations": None, "logprobs": None}]},
    "a citation without a title": {"role": "assistant", "content": [CITED]},
    "a citation of a file without its name": {"role": "assistant", "content": [
        {"type": "output_text", "text": "Hi", "annotations": [{"type": "file_citation", "file_id": "f"}]}]},
    "a file with null sources": {"role": "user", "content": [
        {"type": "input_file", "file_data": "data:text/plain;base64,aGk=", "filename": "a.txt", "file_url": None}]},
    "an image with null sources": {"role": "user", "content": [
        {"type": "input_image", "image_url": "https://a.example/b.png", "file_id": None, "detail": None}]},
    "a search without an id": {"type": "web_search_call", "status": "completed"},
    "a file search without queries": {"type": "file_search_call", "id": "fs_1", "results": None},
    "an image call without an id": {"type": "image_generation_call", "result": "AAAA"},
    "code without outputs": {"type": "code_interpreter_call", "code": "1", "container_id": "c", "outputs": None},
    "a shell call without an id": {"type": "local_shell_call", "call_id": "c1",
                                   "action": {"type": "exec", "command": ["ls"], "env": {}, "user": None}},
    "a tool search without an id": {"type": "tool_search_call", "arguments": {}, "call_id": None,
                                    "execution": "server", "status": "completed"},
    "found tools without an id": {"type": "tool_search_output", "tools": [], "call_id": None, "execution": "server"},
    "a shell call with null fields": {"type": "local_shell_call", "id": None, "call_id": "c1", "status": None,
                                      "action": {"type": "exec", "command": ["ls"], "env": None, "timeout_ms": None}},
    "an own call with null fields": {"type": "mcp_call", "id": None, "server_label": "agent", "name": "f",
                                     "arguments": None, "output": None, "error": None, "status": None},
    "an own call whose error is empty": {"type": "mcp_call", "server_label": "agent", "name": "f", "error": ""},
    "an own call that still runs": {"type": "mcp_call", "server_label": "agent", "name": "f", "status": "calling"},
    "a computer call with null fields": {"type": "computer_call", "id": None, "call_id": "c1", "status": None,
                                         "action": {"type": "screenshot"}, "pending_safety_checks": None},
    "a call with null fields": {"type": "function_call", "id": None, "call_id": "c1", "name": "f", "arguments": "",
                                "status": None, "namespace": None},
    "a refusal with null fields": {"role": "assistant", "id": None, "status": None, "phase": None, "content": [
        {"type": "refusal", "refusal": "No.", "logprobs": None}]},
    "a search with null fields": {"type": "web_search_call", "id": None, "status": None,
                                  "action": {"type": "search", "query": None, "sources": None}},
    "an mcp call with null fields": {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "f",
                                     "arguments": "{}", "error": None, "output": None},
    "an mcp call whose error is a text": {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "f",
                                          "arguments": "{}", "error": "It broke."},
    "a list of tools without an id": {"type": "mcp_list_tools", "server_label": "s", "error": None},
    "a consent request": {"type": "oauth_consent_request", "id": "o1", "consent_link": "https://a.example",
                          "server_label": "mail"},
    "a step of a workflow": {"type": "workflow_action", "id": "wfa_1", "kind": "x", "action_id": "a",
                             "status": "completed"},
    "audio": {"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
}  # fmt: skip

OPTIONS: tuple[dict[str, Any], ...] = (
    {"instructions": ""}, {"previous_response_id": ""}, {"conversation": ""}, {"user": ""}, {"context_management": []},
    {"prompt_cache_key": ""}, {"model": ""},
    {"service_tier": "fast"}, {"service_tier": "gold"}, {"stream_options": {"include_obfuscation": False}},
    {"stream_options": {"include_usage": True}}, {"moderation": {"policy": "x"}}, {"prompt_cache_retention": "now"},
    {"text": {"format": None}}, {"text": {"verbosity": None}}, {"reasoning": {"effort": None, "summary": None}},
    {"agent": {"type": "agent_reference", "name": "a", "version": None}},
    {"tools": [{"type": "function", "name": "f", "strict": None, "parameters": None}]},
    {"tools": [{"type": "mcp", "server_label": "agent", "server_url": "https://a", "headers": {"x": "secret"}}]},
    {"a_field_nobody_knows": {"x": None}},
)  # fmt: skip


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a shell call": (
        {"type": "local_shell_call", "call_id": "c1", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "c1", "output": "a.txt", "id": None},
    ),
    "a call with an id of another kind": (
        {"type": "function_call", "call_id": "é|1" * 40, "name": "a.b/c d", "arguments": ""},
        {"type": "function_call_output", "call_id": "é|1" * 40, "output": ""},
    ),
    "a custom call": (
        {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": "", "namespace": None},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "", "id": None},
    ),
    "a call and no parts": (
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [], "status": None},
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("store", [True, False])
async def test_a_call_and_its_output_are_accepted_without_ids(pair: tuple[Any, Any], store: bool) -> None:
    agent = ScriptedAgent(["ok"])
    async with hosting(agent) as client:
        reply = await client.post("/responses", json={"input": [USER, *pair, USER], "store": store})
    assert reply.status == 200, reply.json()
    contents = [content for message in agent.calls[0].messages for content in message.contents]
    [call] = [content for content in contents if content.type == "function_call"]
    [result] = [content for content in contents if content.type == "function_result"]
    assert call.call_id == result.call_id


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize("store", [True, False])
async def test_an_item_of_a_client_is_accepted(item: dict[str, Any], store: bool) -> None:
    async with hosting(ScriptedAgent(["ok"], ["ok"])) as client:
        reply = await client.post("/responses", json={"input": [item, USER], "store": store})
        assert reply.status == 200, reply.text
        assert reply.json()["status"] == "completed", reply.text
        if store:  # What was stored is read again.
            following = {"input": "Go on.", "previous_response_id": reply.json()["id"]}
            assert (await client.post("/responses", json=following)).json()["status"] == "completed"
        assert not client.errors


@pytest.mark.parametrize("fields", OPTIONS, ids=str)
async def test_an_option_that_says_nothing_or_has_no_effect_is_accepted(fields: dict[str, Any]) -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        reply = await client.post("/responses", json={"input": "hi", **fields})

    assert (reply.status, reply.json().get("status")) == (200, "completed"), reply.text
    assert "secret" not in reply.text


async def test_the_secrets_of_a_tool_that_is_not_used_are_not_repeated() -> None:
    mcp = {"type": "mcp", "server_label": "agent", "server_url": "https://a.example", "authorization": "secret"}
    agent = ScriptedAgent(["ok"])
    async with hosting(agent) as client:
        reply = await client.post("/responses", json={"input": "hi", "tools": [mcp]})

    assert reply.json()["tools"] == []
    assert not agent.calls[0].options.get("tools")


SCRIPT: list[Any] = [
    Content.from_text_reasoning(id="rs_provider", text="So.", protected_data="blob", merge_mode="replace"),
    Content.from_text("Hello", annotations=[{"type": "citation", "url": "https://a.example"}]),
]


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("form", ["objects", "model_dump", "model_dump without ids"])
async def test_the_output_can_be_sent_back_in_every_form_of_the_openai_library(store: bool, form: str) -> None:
    agent = ScriptedAgent(SCRIPT, ["ok"])
    async with hosting(agent) as client, client.openai() as api:
        first = await api.responses.create(model="m", input="hi", store=store)
        items: list[Any] = [*first.output]
        if form != "objects":
            items = [row.model_dump() for row in first.output]
        if form == "model_dump without ids":
            items = [{name: value for name, value in row.items() if name != "id"} for row in items]
        again = await api.responses.create(
            model="m", input=cast("Any", [{"role": "user", "content": "hi"}, *items, USER]), store=store
        )

    assert again.status == "completed", again.error
    thoughts = [row for message in agent.calls[1].messages for row in message.contents if row.type == "text_reasoning"]
    assert [(row.id, row.protected_data) for row in thoughts] == [("rs_provider", "blob")]


@pytest.mark.parametrize(
    ("policy", "role", "option"),
    [("forward", "user", None), ("append", None, "Be brief.")],
)
async def test_instructions_reach_the_agent_as_the_policy_says(policy: Any, role: str | None, option: Any) -> None:
    agent = ScriptedAgent(["ok"], ["ok"])
    async with hosting(agent, options=HostOptions(caller=CallerPolicy(instructions=policy))) as client:
        body = {"input": "hi", "instructions": "Be brief."}
        first = (await client.post("/responses", json=body)).json()
        await client.post("/responses", json={"input": "more", "previous_response_id": first["id"]})

    assert first["instructions"] == "Be brief."
    said = [(message.role, message.text) for message in agent.calls[0].messages]
    assert said == ([(role, "Be brief.")] if role else []) + [("user", "hi")]
    assert agent.calls[0].options.get("options", {}).get("instructions") == option
    assert "Be brief." not in [message.text for message in agent.calls[1].messages], "they count for one turn only"


async def test_instructions_are_refused_where_the_policy_says_so() -> None:
    options = HostOptions(caller=CallerPolicy(instructions="refuse"))
    async with hosting(ScriptedAgent(["ok"]), options=options) as client:
        error = assert_refusal(await client.post("/responses", json={"input": "hi", "instructions": "x"}), 400)
        assert (await client.post("/responses", json={"input": "hi", "instructions": ""})).status == 200

    assert error["param"] == "instructions"


CODEX_TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "exec", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    {"type": "web_search", "external_web_access": False},
    {"type": "namespace", "name": "n"},
    {"type": "tool_search"},
    {"type": "a_type_of_next_year"},
]


async def test_tools_of_unknown_types_are_dropped_where_the_policy_says_so() -> None:
    agent = ScriptedAgent(["ok"])
    async with hosting(agent, options=HostOptions(caller=CallerPolicy(unknown_tools="drop"))) as client:
        reply = await client.post("/responses", json={"input": "hi", "tools": CODEX_TOOLS, "tool_choice": "auto"})

    assert reply.status == 200, reply.text
    assert [tool["name"] for tool in reply.json()["tools"]] == ["exec"]


@pytest.mark.parametrize("n", range(1, len(CODEX_TOOLS)))
async def test_a_tool_of_an_unknown_type_is_refused_by_default(n: int) -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        error = assert_refusal(await client.post("/responses", json={"input": "hi", "tools": [CODEX_TOOLS[n]]}), 400)

    assert error["param"] == "tools[0].type"
    assert CODEX_TOOLS[n]["type"] in error["message"]
