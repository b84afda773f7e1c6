"""Small bodies, right and wrong, get the same answer from the SDK's host and from the package's own routes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hostedagent import AgentHost, memory_stores
from hostedagent.host import Driver
from hostedagent.protocol.request.options import OPTIONS
from hostedagent.testing import Reply, ScriptedAgent, serve

SIMPLE: tuple[Any, ...] = (
    *(None, "", "zz", 0, 1, -1, 3.5, 1e9, True, False),
    *([], ["zz"], [None], [1], [{}], {}, {"x": 1}, {"id": "zz"}, {"type": "zz"}, {"type": "text"}),
)
"""Values that every field is given."""

FORMAT = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
FUNCTION = {"type": "function", "name": "f"}
AGENT = {"type": "agent_reference", "name": "a"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
USER = {"role": "user", "content": "x"}


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


PARTICULAR: Mapping[str, Sequence[Any]] = {
    "reasoning": [{"effort": "zz"}, {"effort": "low"}, {"summary": "zz"}, {"effort": 1}, {"context": "zz"},
                  {"generate_summary": "zz"}, {"generate_summary": "auto"}, {"mode": "zz"}],
    "text": [{"verbosity": "zz"}, {"format": {"type": "zz"}}, {"format": {"type": "json_schema"}}, {"format": []},
             {"format": FORMAT}, {"format": {**FORMAT, "name": "a b"}}, {"format": {**FORMAT, "strict": "zz"}},
             {"format": {**FORMAT, "description": 1}}, {"format": {"type": "json_object"}}],
    "tools": [[FUNCTION], [{**FUNCTION, "parameters": []}], [{**FUNCTION, "strict": "zz"}],
              [{**FUNCTION, "description": 1}], [{"type": "function"}], [{"type": "web_search"}], [FUNCTION, FUNCTION],
              [{"type": "mcp", "server_label": "agent"}], [{"type": "mcp", "server_label": "x"}],
              [{**FUNCTION, "name": "f" * 129}], [{**FUNCTION, "name": "f f"}], [{**FUNCTION, "a": 1}],
              [{"type": "mcp", "server_label": "agent", "require_approval": "zz"}]],
    "tool_choice": ["none", "auto", "required", FUNCTION, {"type": "function"}, {"type": "custom", "name": "x"},
                    {"type": "allowed_tools", "mode": "zz", "tools": []}, {"type": "mcp", "server_label": "agent"}],
    "include": [["reasoning.encrypted_content"], ["reasoning.encrypted_content", "zz"],
                ["file_search_call.results"] * 3],
    "conversation": ["conv_1", {"id": "conv_1"}, {"id": 1}, "x" * 300, "\n"],
    "metadata": [{"a": "b"}, {"a": 1}, {"a": None}, {"a" * 65: "b"}, {"a": "b" * 513},
                 {f"k{n}": "v" for n in range(17)}],
    "stream_options": [{"include_obfuscation": True}, {"include_obfuscation": "zz"}],
    "truncation": ["auto", "disabled"],
    "agent": [AGENT, {"name": "a"}, {**AGENT, "name": 1}, {**AGENT, "version": 1}],
    "agent_reference": [AGENT, {"name": "a"}, {**AGENT, "name": 1}, {**AGENT, "version": "1"}, {**AGENT, "version": 1},
                        {**AGENT, "type": "zz"}, {**AGENT, "name": " "}],
    "agent_session_id": ["abc", "a b", "é", "x" * 300],
    "previous_response_id": ["resp_1", f"caresp_{'a' * 50}", "zz\n"],
    "context_management": [[{"type": "compaction", "compact_threshold": 1000}], [{"type": "compaction"}],
                           [{"type": "compaction", "compact_threshold": "zz"}]],
    "input": [
        [USER], [{**USER, "role": "zz"}], [{**USER, "status": "zz"}], [{**USER, "phase": "zz"}], [{**USER, "id": 1}],
        [{"role": "user"}], [{**USER, "content": 1}], user({"type": "zz"}), user({"type": "input_text"}),
        user({"type": "input_text", "text": 1}), user({"type": "input_image"}), user({"type": "input_file"}),
        user({"type": "input_image", "image_url": "https://a.example", "detail": "zz"}),
        user({"type": "output_text", "text": "x", "annotations": "zz"}),
        user({"type": "output_text", "text": "x", "annotations": [{"type": "zz"}]}),
        user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "zz"}}),
        [CALL, USER], [{**CALL, "arguments": {}}, USER], [{**CALL, "status": "zz"}, USER],
        [CALL, {"type": "function_call_output", "call_id": "c", "output": 1}],
        [{"type": "function_call_output", "call_id": "c", "output": "x"}],
        [{"type": "item_reference", "id": "x"}], [USER, {"type": "reasoning", "summary": "zz"}],
        [USER, {"type": "reasoning", "summary": [{"type": "zz", "text": "x"}]}],
        [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}],
        [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": "zz"}],
        [USER, {"type": "tool_search_call", "arguments": "zz"}], [USER, {"type": "mcp_list_tools", "error": "zz"}],
        [USER, {"type": "tool_search_output", "tools": [{"type": "of_next_year"}]}],
        [USER, {"type": "web_search_call", "action": {"type": "zz"}}], [USER, {"type": "compaction_trigger"}],
        [[]], ["x"],
    ],
}  # fmt: skip
"""Values that mean something in a field, or nearly."""

TOGETHER: tuple[dict[str, Any], ...] = (
    {"background": True, "store": False},
    {"background": True, "store": False, "stream": True},
    {"stream": True},
    {"stream": True, "background": True},
    {"stream": True, "stream_options": {"include_obfuscation": True}, "tools": [FUNCTION], "metadata": {"a": "b"}},
    {"store": False, "conversation": "conv_1"},
    {"store": False, "previous_response_id": "resp_1"},
    {"previous_response_id": "resp_1", "conversation": "conv_1"},
)

RAW = (
    *(b"", b"[]", b"1", b'"x"', b"{", b"null", b'{"input":"hi"}{}', b' {"input":"hi"} ', b'{"input":"hi\\u0000"}'),
    *(b'{"input":"hi","input":"ho"}', b'{"input":"\\ud800"}', b'{"input":NaN}', b"\xff", b'\xef\xbb\xbf{"input":"hi"}'),
    *(b'{"input":"hi","temperature":1e999}', b"{}", b'{"model":"m"}'),
)

UNKNOWN = ("unknown_field", "messages", "n", "max_tokens", "stop", "seed", "response_format", "extra_body")


def bodies(name: str) -> list[bytes]:
    """The bodies that try one field, or that are about none."""
    if name == "together":
        return [*RAW, *(json.dumps({"input": "hi", **fields}).encode() for fields in TOGETHER)]
    return [json.dumps({"input": "hi", name: value}).encode() for value in (*SIMPLE, *PARTICULAR.get(name, ()))]


_IDS = re.compile(r"\b([a-z]+)_[0-9A-Za-z]{20,}")
_OF_THE_MOMENT = ("created_at", "completed_at", "agent_session_id", "additionalInfo")


def seen(reply: Reply) -> Any:
    """What a client sees of an answer, without ids and times."""
    text, kind = _IDS.sub(r"\1", reply.text), reply.headers["content-type"]
    if kind.startswith("text/event-stream"):
        return reply.status, [_lasting(json.loads(row[6:])) for row in text.splitlines() if row.startswith("data: {")]
    return reply.status, kind, _lasting(json.loads(text))


def _lasting(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is of the moment, and without `response_id`, an addition of the SDK."""
    nested = {name: _lasting(value[name]) for name in ("response", "error") if isinstance(value.get(name), dict)}
    left = {name: row for name, row in value.items() if name not in ("response_id", *_OF_THE_MOMENT)}
    return {**left, **nested}


async def answers(driver: Driver, given: Sequence[bytes]) -> list[Any]:
    host = AgentHost(ScriptedAgent(*[["ok"]] * len(given)), driver=driver, stores=memory_stores())
    async with serve(host.app) as client:
        headers = {"content-type": "application/json"}
        found = [seen(await client.post("/responses", content=body, headers=headers)) for body in given]
        assert not client.errors
    return found


@pytest.mark.parametrize("name", [*OPTIONS, *UNKNOWN, "together"])
async def test_both_drivers_answer_alike(name: str) -> None:
    given = bodies(name)
    sdk, own = await answers("agentserver", given), await answers("starlette", given)

    assert {body: (one, other) for body, one, other in zip(given, sdk, own, strict=True) if one != other} == {}
    assert all(status in (200, 400, 404) for status, *_ in own)


def test_every_particular_value_is_tried() -> None:
    assert set(PARTICULAR) <= set(OPTIONS)
