"""Bodies by kind and size: each is answered or refused with a 4xx, and other requests are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from hostedagent import CallerPolicy, HostOptions, TurnRequest
from hostedagent.errors import RequestError
from hostedagent.protocol.request.body import parse_body
from hostedagent.testing import ScriptedAgent
from tests.host.world import assert_refusal, hosting

LIMITS = HostOptions(
    max_values=3_000, max_items=100, max_parts=100, max_tools=20, max_include=20, max_schema_depth=20, max_depth=60
)
SIZES = (0, 1, 2, 19, 20, 21, 99, 100, 101, 500, 2_000)
USER = {"type": "message", "role": "user", "content": "hi"}


def text(n: int) -> dict[str, Any]:
    return {"type": "input_text", "text": f"{n}"}


def call(n: int) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"}


def output(n: int) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{n}", "output": "1"}


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"properties": value}
    return value


KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "items": lambda n: {"input": [USER] * n},
    "parts of one message": lambda n: {"input": [{"role": "user", "content": [text(k) for k in range(n)]}]},
    "parts of many messages": lambda n: {"input": [{"role": "user", "content": [text(0)]}] * n},
    "images": lambda n: {"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "https://a.example/b.png"}] * n}]},
    "files": lambda n: {"input": [{"role": "user", "content": [
        {"type": "input_file", "file_data": "aGk=", "filename": "a.bin"}] * n}]},
    "calls never answered": lambda n: {"input": [*(call(k) for k in range(n)), USER]},
    "calls of one id": lambda n: {"input": [*(call(0) for _ in range(n)), USER]},
    "calls and outputs": lambda n: {"input": [row for k in range(n) for row in (call(k), output(k))]},
    "calls and outputs of one id": lambda n: {"input": [row for _ in range(n) for row in (call(0), output(0))]},
    "outputs of no call": lambda n: {"input": [USER, *(output(k) for k in range(n))]},
    "references to nothing": lambda n: {"input": [USER, *({"id": f"msg_{k}"} for k in range(n))]},
    "answers to no question": lambda n: {"input": [USER, *(
        {"type": "mcp_approval_response", "approval_request_id": f"mcpr_{k}", "approve": True} for k in range(n))]},
    "reasoning": lambda n: {"input": [USER, *[{"type": "reasoning", "summary": []}] * n]},
    "summaries": lambda n: {"input": [USER, {"type": "reasoning", "summary": [
        {"type": "summary_text", "text": "x"}] * n}]},
    "citations": lambda n: {"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "x",
        "annotations": [{"type": "url_citation", "url": "https://a.example"}] * n}]}, USER]},
    "tools": lambda n: {"input": "hi", "tools": [{"type": "function", "name": f"f{k}"} for k in range(n)]},
    "unknown tools": lambda n: {"input": "hi", "tools": [{"type": "no_such"}] * n},
    "tools to choose from": lambda n: {"input": "hi", "tool_choice": {"type": "allowed_tools", "tools": [
        {"type": "function", "name": f"f{k}"} for k in range(n)]}},
    "a deep schema": lambda n: {"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": nested(n)}]},
    "a wide schema": lambda n: {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": {
        "type": "object", "properties": {f"p{k}": {} for k in range(n)}}}}},
    "a deep format": lambda n: {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n",
                                                                   "schema": nested(n)}}},
    "include": lambda n: {"input": "hi", "include": ["reasoning.encrypted_content"] * n},
    "metadata": lambda n: {"input": "hi", "metadata": {f"k{k}": "v" for k in range(n)}},
    "unknown keys": lambda n: {"input": "hi", **{f"new{k}": k for k in range(n)}},
    "a deep value": lambda n: {"input": "hi", "new": nested(n)},
    "nulls": lambda n: {"input": "hi", "new": [{"a": None}] * n},
    "a long text": lambda n: {"input": "x," * n * 100},
    "a long name": lambda n: {"input": "hi", "tools": [{"type": "function", "name": "f" * n}]},
    "a long id": lambda n: {"input": "hi", "conversation": "c" * n},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_of_any_size_is_answered_or_refused(kind: str) -> None:
    async with hosting(ScriptedAgent(*[["ok"]] * len(SIZES)), options=LIMITS) as client:
        for size in SIZES:
            body = json.dumps(KINDS[kind](min(size, 400) if "deep" in kind else size)).encode()
            reply = await client.post("/responses", content=body)
            if reply.status != 200:
                assert_refusal(reply)
            else:
                assert reply.json()["status"] == "completed", f"{kind} {size}: {reply.text[:500]}"
        assert (await client.get("/readiness")).status == 200
        assert not client.errors


def test_there_are_enough_bodies() -> None:
    assert len(KINDS) * len(SIZES) >= 200


@pytest.mark.parametrize(
    ("fields", "option", "param"),
    [
        (KINDS["items"], "max_items", "input"),
        (KINDS["parts of one message"], "max_parts", "input"),
        (KINDS["parts of many messages"], "max_parts", "input"),
        (KINDS["tools"], "max_tools", "tools"),
        (KINDS["include"], "max_include", "include"),
        (KINDS["unknown keys"], "max_values", None),
        (KINDS["a deep schema"], "max_schema_depth", "tools[0].parameters"),
        (KINDS["a deep format"], "max_schema_depth", "text.format.schema"),
        (KINDS["a deep value"], "max_depth", None),
    ],
)  # fmt: skip
def test_each_limit_holds_exactly_and_names_its_field(fields: Any, option: str, param: str | None) -> None:
    changed: dict[str, Any] = {option: 10}
    options = HostOptions(**changed)
    below = {"max_values": 8, "max_schema_depth": 9, "max_depth": 8}.get(option, 10)
    parse_body(json.dumps(fields(below)).encode(), options)

    with pytest.raises(RequestError) as refused:
        parse_body(json.dumps(fields(below + 1)).encode(), options)

    assert refused.value.param == param
    assert "10" in refused.value.message


def test_commas_inside_a_text_are_no_values() -> None:
    parse_body(json.dumps({"input": "," * 1_000}).encode(), HostOptions(max_values=10))


@pytest.mark.parametrize(
    "kind", ["calls never answered", "calls and outputs of one id", "parts of one message", "tools"]
)
def test_the_memory_of_a_body_grows_linearly(kind: str) -> None:
    options = HostOptions(max_items=10_000, max_parts=10_000, max_tools=10_000)

    def peak(n: int) -> int:
        data = json.dumps(KINDS[kind](n)).encode()
        tracemalloc.start()
        TurnRequest.parse(parse_body(data, options).fields, CallerPolicy())
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(800) < 6 * peak(200) + 1_000_000


async def test_other_requests_are_answered_while_a_large_body_is_parsed() -> None:
    items = [{"role": "user", "content": "x" * 300} for _ in range(5_000)]
    body = json.dumps({"input": items, "temperature": 99}).encode()
    async with hosting(ScriptedAgent()) as client:
        posting = asyncio.ensure_future(client.post("/responses", content=body))
        answered = 0
        while not posting.done():
            answered += (await client.get("/readiness")).status == 200
        assert_refusal(await posting, 400)

    assert answered > 0
