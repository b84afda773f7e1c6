"""The caller's mistakes: each is a 4xx in the protocol's words, before anything runs or is stored."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agent_framework import Agent, tool

from hostedagent import HostOptions
from hostedagent.testing import OfflineChatClient, ScriptedAgent
from tests.host.world import Writes, assert_refusal, hosting

UNKNOWN = f"caresp_{'0' * 16}00{'x' * 32}"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"type": "message", "role": "user", "content": list(parts)}]


def function(name: Any = "look_up", **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **more}


RAW: dict[str, bytes] = {
    "an empty body": b"",
    "white space": b"  \n",
    "cut off JSON": b'{"input": "hi"',
    "two values": b'{"input": "hi"} {}',
    "a trailing comma": b'{"input": "hi",}',
    "plain text": b"hello",
    "form data": b"input=hi&stream=true",
    "an array": b'[{"input": "hi"}]',
    "a string": b'"hi"',
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"input": "\xff\xfe"}',
    "UTF-8 that is overlong": b'{"input": "\xc0\xaf"}',
    "UTF-16": '{"input": "hi"}'.encode("utf-16"),
    "a raw surrogate": b'{"input": "\xed\xa0\x80"}',
    "an escaped surrogate": b'{"input": "\\ud800"}',
    "an escaped low surrogate": b'{"input": "a\\uDFFFb"}',
    "a surrogate in a key": b'{"input": "hi", "metadata": {"\\ud800": "x"}}',
    "a surrogate in a field nobody knows": b'{"input": "hi", "new": "\\ud800"}',
    "NaN": b'{"input": "hi", "temperature": NaN}',
    "NaN in a field nobody knows": b'{"input": "hi", "new": NaN}',
    "Infinity": b'{"input": "hi", "temperature": Infinity}',
    "-Infinity": b'{"input": "hi", "metadata": {"a": -Infinity}}',
    "1e999": b'{"input": "hi", "temperature": 1e999}',
    "1e999 in a field nobody knows": b'{"input": "hi", "new": 1e999}',
    "-1e999 in a tool's schema": b'{"input": "hi", "tools": [{"type": "function", "name": "f",'
    b' "parameters": {"type": "object", "properties": {}, "minimum": -1e999}}]}',
    "an integer of 5000 digits": b'{"input": "hi", "max_output_tokens": ' + b"9" * 5000 + b"}",
    "an integer of 400 digits": b'{"input": "hi", "temperature": ' + b"9" * 400 + b"}",
    "101 levels": f'{{"input": "hi", "new": {nested(101)}}}'.encode(),
    "900 levels": f'{{"input": {nested(900)}}}'.encode(),
    "100000 levels": f'{{"input": {nested(100_000)}}}'.encode(),
    "100000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100000 levels never closed": b"[" * 100_000,
}

WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "input": (None, "", [], 1, True, {}, {"role": "user", "content": "hi"}, [""], ["hi"], [None], [[]], [1], [{}],
              [{"role": "user", "content": ""}], user(), [{"type": "reasoning", "id": "rs_1", "summary": []}]),
    "stream": ("true", 1, [], {}),
    "store": ("false", 0, [], {}),
    "background": ("no", 1, []),
    "previous_response_id": (1, [], {}, "nonsense", "resp_68aa", "caresp_short", UNKNOWN + "x"),
    "conversation": (1, [], {}, {"id": 1}, {"id": None}, {"id": ""}),
    "metadata": ("a", 1, [], {"a": 1}, {"a": None}, {"a": {}}, {"a": "x" * 513}, {"k" * 65: "v"}),
    "user": (1, [], {}),
    "temperature": ("1", True, [], {}, 99, -1, 2.0001),
    "top_p": ("1", False, [], 1.5, -0.1),
    "presence_penalty": ("1", [], 3),
    "frequency_penalty": ("1", [], -3),
    "max_output_tokens": ("1", True, 1.5, -1, 0, []),
    "max_tool_calls": ("1", True, -1, 0),
    "top_logprobs": ("1", True, -1, 21, 1.5),
    "parallel_tool_calls": ("yes", 1),
    "truncation": ("always", 1, [], {}),
    "reasoning": ("high", 1, [], {"effort": "huge"}, {"effort": 1}, {"effort": []}, {"summary": "all"}),
    "include": ("all", 1, {}, [1]),
    "text": ("plain", 1, [], {"format": "text"}, {"format": {}}, {"format": {"type": "xml"}}, {"verbosity": "loud"},
             {"format": {"type": []}}, {"format": {"type": "json_schema"}}, {"verbosity": []},
             {"format": {"type": "json_schema", "name": 1, "schema": {}}},
             {"format": {"type": "json_schema", "name": "a", "schema": []}}),
    "tools": ("f", 1, {}, [1], ["f"], [{}], [{"type": 1}], [{"type": "function"}], [function("")], [function(1)],
              [function("a b")], [function("x" * 129)], [function(description=1)], [function(parameters=[])],
              [function(parameters="{}")], [function(), function()], [function("take_note")],
              [{"type": "web_search"}], [{"type": "code_interpreter", "container": {"type": "auto"}}],
              [{"type": "mcp", "server_label": "a", "server_url": "https://example.com"}],
              [{"type": "file_search", "vector_store_ids": ["v"]}], [{"type": "no_such_tool"}]),
    "tool_choice": ("always", 1, [], {}, {"type": "function"}, {"type": "function", "name": 1},
                    {"type": "allowed_tools"}, {"type": "allowed_tools", "mode": "auto", "tools": []},
                    {"type": "allowed_tools", "mode": "some", "tools": [{"name": "a"}]},
                    {"type": "allowed_tools", "mode": [], "tools": [{"name": "a"}]},
                    {"type": "allowed_tools", "mode": "auto", "tools": [1]}),
    "model": (1, [], {}),
    "prompt_cache_key": (1, []),
    "safety_identifier": (1, {}),
    "instructions": (1, []),
    "prompt": ({"id": "pmpt_1"}, "pmpt_1"),
    "context_management": ([{"type": "other"}], {}),
    "agent_reference": ("writer", 1, [], {"type": "agent", "name": "writer"}),
}  # fmt: skip

ITEMS: dict[str, list[Any]] = {
    "no content": [{"type": "message", "role": "user"}],
    "null content": [{"type": "message", "role": "user", "content": None}],
    "a number as content": [{"type": "message", "role": "user", "content": 1}],
    "an object as content": [{"type": "message", "role": "user", "content": {"type": "input_text", "text": "hi"}}],
    "an unknown role": [{"type": "message", "role": "root", "content": "hi"}],
    "a role of a wrong type": [{"type": "message", "role": ["user"], "content": "hi"}],
    "the role tool": [{"type": "message", "role": "tool", "content": "hi"}],
    "a text without text": user({"type": "input_text"}),
    "a text that is a number": user({"type": "input_text", "text": 1}),
    "a part that is a string": user("hi"),
    "a part without a type": user({"text": "hi"}),
    "a part of a wrong type": user({"type": 1, "text": "hi"}),
    "a part of an unhashable type": user({"type": [], "text": "hi"}),
    "an unknown part": user({"type": "input_smell", "smell": "rose"}),
    "an image without a source": user({"type": "input_image"}),
    "an image that is no address": user({"type": "input_image", "image_url": 1}),
    "a file without a source": user({"type": "input_file"}),
    "an unknown item": [{"type": "no_such_item", "text": "hi"}],
    "an item of a wrong type": [{"type": 1}],
    "an item of an unhashable type": [{"type": {}, "role": "user", "content": "hi"}],
    "a call without a name": [{"type": "function_call", "call_id": "c1", "arguments": "{}"}],
    "a call without an id": [{"type": "function_call", "name": "f", "arguments": "{}"}],
    "a call whose arguments are an object": [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": {"a": 1}}
    ],
    "an output without an id": [{"type": "function_call_output", "output": "1"}],
    "an output without output": [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1"},
    ],
    "an output that is a number": [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": 1},
    ],
    "an output that answers no call": [{"type": "function_call_output", "call_id": "c1", "output": "1"}],
    "an output before its call": [
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "a call answered twice": [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
    ],
    "a reference without an id": [{"type": "item_reference"}],
    "a reference to a number": [{"type": "item_reference", "id": 1}],
    "a reference to nothing": [{"type": "item_reference", "id": "msg_unknown"}],
    "a short reference to nothing": [{"id": "msg_unknown"}],
    "a reference to an empty id": [{"type": "item_reference", "id": ""}],
    "a good item and a bad one": [{"role": "user", "content": "hi"}, {"type": "no_such_item"}],
}  # fmt: skip

COMBINATIONS: dict[str, dict[str, Any]] = {
    "a previous response and a conversation": {"previous_response_id": UNKNOWN, "conversation": "conv_1"},
    "an unknown previous response": {"previous_response_id": UNKNOWN},
    "background without a store": {"background": True, "store": False},
    "17 pairs of metadata": {"metadata": {f"k{n}": "v" for n in range(17)}},
    "a response id of its own": {"response_id": "nonsense"},
}


def cases() -> list[Any]:
    rows: list[tuple[str, bytes]] = list(RAW.items())
    for name, values in WRONG_TYPES.items():
        rows += [(f"{name}={json.dumps(value)[:60]}", body(**{name: value})) for value in values]
    rows += [(name, body(input=items)) for name, items in ITEMS.items()]
    rows += [(name, body(**fields)) for name, fields in COMBINATIONS.items()]
    rows.append(("input missing", b'{"model": "m"}'))
    return [pytest.param(content, id=name) for name, content in rows]


def body(**fields: Any) -> bytes:
    return json.dumps({"input": "hi", **fields}).encode()


@tool
def take_note(text: str) -> str:
    """Write it down."""
    return text


def agent() -> tuple[Agent[Any], OfflineChatClient]:
    client = OfflineChatClient()
    return Agent(client, name="writer", tools=[take_note]), client


@pytest.mark.parametrize("content", cases())
async def test_a_bad_request_is_refused_and_leaves_nothing(content: bytes, writes: Writes) -> None:
    writer, model = agent()

    async with hosting(writer) as client:
        reply = await client.post("/responses", content=content, headers={"content-type": "application/json"})

        assert_refusal(reply)
        assert not client.errors
    assert not model.calls
    writes.assert_none()


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"temperature": 99}, 400, "temperature"),
        ({"text": {"format": {"type": "xml"}}}, 400, "text.format.type"),
        ({"tools": [function(), function()]}, 400, "tools[1].name"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0].type"),
        ({"tools": [function("other"), function("take_note")]}, 400, "tools[1].name"),
        ({"tools": [function(parameters={"type": "string"})]}, 400, "tools[0].parameters.type"),
        ({"tool_choice": {"type": "function", "name": "nothing"}}, 400, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "take_note"},
                                                             {"type": "function", "name": "nothing"}]}},
         400, "tool_choice.tools[1].name"),
        ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, 400, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "x" * 65, "schema": {}}}}, 400, "text.format.name"),
        ({"prompt": "hi", "input": None}, 400, "input"),
        ({"messages": [{"role": "user", "content": "hi"}], "input": None}, 400, "input"),
        ({"input": user({"type": "input_text"})}, 400, "input[0].content[0].text"),
        ({"input": [{"type": "no_such_item"}]}, 400, "input[0].type"),
        ({"input": []}, 400, "input"),
        ({"input": ITEMS["a call answered twice"]}, 400, "input[2].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_unknown"}]}, 404, "input[0].id"),
    ],
)  # fmt: skip
async def test_a_refusal_names_the_place(fields: dict[str, Any], status: int, param: str) -> None:
    async with hosting(agent()[0]) as client:
        error = assert_refusal(await client.post("/responses", content=body(**fields)), status)

    assert error["param"] == param


async def test_a_refusal_comes_before_a_stream_begins() -> None:
    async with hosting(ScriptedAgent()) as client:
        reply = await client.post("/responses", content=body(stream=True, temperature=99))

    assert_refusal(reply, 400)


async def test_a_body_above_the_limit_is_refused_while_it_comes_in(writes: Writes) -> None:
    async with hosting(ScriptedAgent(), options=HostOptions(max_body_bytes=1000)) as client:
        error = assert_refusal(await client.post("/responses", content=body(input="x" * 1000)), 413)

    assert "1000 bytes" in error["message"]
    writes.assert_none()


async def test_a_body_that_lies_about_its_length_is_refused_at_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    async with hosting(ScriptedAgent(), options=HostOptions(max_body_bytes=1000)) as client:
        assert_refusal(await client.post("/responses", content=endless()), 413)


@pytest.mark.parametrize(
    "value", ["x" * 5_000_000, "\U0001f600" * 1000, "\x00\x01", "\u2028</script>", "a\\ud83d\\ude00", "\ufffe"]
)
async def test_odd_but_honest_text_reaches_the_agent_as_it_is(value: str) -> None:
    agent = ScriptedAgent(["ok"])

    async with hosting(agent) as client:
        reply = await client.post("/responses", json={"input": value})

    assert reply.status == 200
    assert agent.calls[0].text == value


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_the_body_counts_and_not_the_word_for_it(kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}

    async with hosting(ScriptedAgent(["ok"])) as client:
        reply = await client.post("/responses", content=body(), headers=headers)

    assert reply.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "content-type": "text/plain"},
        {"origin": "https://evil.example", "content-type": "text/plain; a=application/json"},
        {"origin": "null"},
        {"content-encoding": "gzip", "content-type": "application/json"},
    ],
    ids=["a page", "a page that tries", "a page that says nothing", "a body that is packed"],
)
async def test_what_a_page_may_send_unasked_and_what_is_encoded_is_refused(
    headers: dict[str, str], writes: Writes
) -> None:
    async with hosting(ScriptedAgent()) as client:
        assert_refusal(await client.post("/responses", content=body(), headers=headers), 415)

    writes.assert_none()


async def test_a_page_that_asks_to_send_json_is_served_where_it_may() -> None:
    headers = {"origin": "https://own.example", "content-type": "Application/JSON; charset=utf-8"}

    async with hosting(ScriptedAgent(["ok"])) as client:
        reply = await client.post("/responses", content=body(), headers={**headers, "content-encoding": "identity"})

    assert reply.status == 200


@pytest.mark.parametrize(("count", "status"), [(3, 200), (4, 400)])
async def test_an_input_of_more_items_than_the_host_takes_is_refused(count: int, status: int) -> None:
    items = [{"type": "message", "role": "user", "content": f"{n}"} for n in range(count)]

    async with hosting(ScriptedAgent(["ok"]), options=HostOptions(max_items=3)) as client:
        reply = await client.post("/responses", content=body(input=items))

    assert reply.status == status
    if status == 400:
        assert "4 items" in assert_refusal(reply, 400)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/openai/v1/files", 404, "not_found"),
        ("POST", "/threads", 404, "not_found"),
        ("PUT", "/responses", 405, "method_not_allowed"),
    ],
)
async def test_a_route_that_there_is_not_says_where_the_routes_are(
    method: str, path: str, status: int, code: str
) -> None:
    async with hosting(ScriptedAgent()) as client:
        reply = await client.request(method, path)

    error = reply.json()["error"]
    assert (reply.status, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert f"{method} {path} is not served by this host." in error["message"] and "/responses" in error["message"]


@pytest.mark.parametrize("value", [100, 60])
async def test_nesting_within_the_limit_is_taken(value: int) -> None:
    content = f'{{"input": "hi", "new": {nested(value - 1)}}}'.encode()

    async with hosting(ScriptedAgent(["ok"])) as client:
        assert (await client.post("/responses", content=content)).status == 200


async def test_an_unknown_conversation_begins_one() -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        reply = await client.post("/responses", json={"input": "hi", "conversation": "conv_new"})

    assert reply.json()["status"] == "completed"
