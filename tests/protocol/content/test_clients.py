"""What the real model clients stream becomes checked items, and what is read back is what the provider wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from agent_framework import Agent, Content, Message

from hostedagent.protocol.content import BY_ITEM
from tests.clients.upstream import (
    CodeInterpreter,
    FileSearch,
    ImageGeneration,
    McpCall,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Upstream,
    UrlCitation,
    WebSearch,
    anthropic_client,
    chat_completion_client,
    responses_client,
    turn,
)
from tests.clients.upstream import (
    Message as Said,
)
from tests.protocol.content.harness import Projected, project, read
from tests.protocol.content.wire import log

Connect = Callable[[Upstream], Any]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def run(upstream: Upstream, connect: Connect, messages: Sequence[Message]) -> Projected:
    """One run of an agent, projected and checked."""
    options: Any = {"store": False} if connect is responses_client else {}
    agent = Agent(client=connect(upstream), default_options=options)
    projected = project([update async for update in agent.run(list(messages), stream=True)])
    log(projected)
    return projected


async def two_turns(connect: Connect, *parts: Any) -> tuple[Projected, dict[str, Any]]:
    """The items of a first turn, and the request of the second, whose history was read from those items."""
    async with Upstream() as upstream:
        upstream.script(turn(*parts), Text("Done."))
        question = Message("user", ["Go"])
        projected = await run(upstream, connect, [question])
        history = [
            Message("tool" if BY_ITEM[i["type"]].item_types[i["type"]] == "tool" else "assistant", read(i))
            for i in projected.items
        ]
        await run(upstream, connect, [question, *history, Message("user", ["On"])])
        return projected, upstream.requests[1]


def types(projected: Projected) -> list[str]:
    return [item["type"] for item in projected.items]


async def test_reasoning_goes_back_under_the_providers_id_in_one_piece() -> None:
    thought = Reasoning(("first", "second"), raw=("raw",), encrypted="cipher")
    projected, request = await two_turns(responses_client, thought, Text("Hi"))
    assert types(projected) == ["reasoning", "message"]
    (sent,) = [item for item in request["input"] if item["type"] == "reasoning"]
    assert [part["text"] for part in sent["summary"]] == ["first", "second"]
    assert [part["text"] for part in sent["content"]] == ["raw"]
    assert sent["encrypted_content"] == "cipher"
    assert sent["id"] != projected.items[0]["id"]


async def test_a_thought_and_its_signature_go_back_to_anthropic_as_one_block() -> None:
    projected, request = await two_turns(anthropic_client, Reasoning(("hmm",), encrypted="signed"), Text("Hi"))
    assert types(projected) == ["reasoning", "message"]
    blocks = [block for message in request["messages"] for block in message["content"] if block["type"] == "thinking"]
    assert blocks == [{"type": "thinking", "thinking": "hmm", "signature": "signed"}]


async def test_reasoning_details_go_back_to_chat_completions() -> None:
    details = Content.from_text_reasoning(protected_data='[{"type": "reasoning.encrypted", "data": "x"}]')
    stored = project([details, Content.from_text("Hi")]).items
    history = [Message("assistant", [content for item in stored for content in read(item)])]
    async with Upstream() as upstream:
        upstream.script(Text("Done."))
        await run(upstream, chat_completion_client, [*history, Message("user", ["On"])])
        (sent,) = [message for message in upstream.requests[0]["messages"] if message["role"] == "assistant"]
    assert sent["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "x"}]


async def test_a_hosted_mcp_call_goes_back_under_the_providers_id_with_its_arguments() -> None:
    projected, request = await two_turns(responses_client, McpCall("docs", "find", {"q": "x"}, "found"), Text("Hi"))
    assert types(projected) == ["mcp_call", "message"]
    item = projected.items[0]
    assert (item["server_label"], item["name"], item["arguments"], item["output"]) == (
        "docs",
        "find",
        '{"q": "x"}',
        "found",
    )
    (sent,) = [item for item in request["input"] if item["type"] == "mcp_call"]
    assert (sent["arguments"], sent["output"]) == ('{"q": "x"}', "found")
    assert sent["id"] != item["id"]


async def test_a_hosted_mcp_call_that_fails_says_so() -> None:
    projected, _ = await two_turns(responses_client, McpCall("docs", "find", error="no"), Text("Hi"))
    assert (projected.items[0]["status"], bool(projected.items[0]["error"])) == ("failed", True)


HOSTED = [
    pytest.param(CodeInterpreter("print(1)", "1"), "code_interpreter_call", {"code": "print(1)"}, id="code"),
    pytest.param(ImageGeneration(PIXEL, (PIXEL,)), "image_generation_call", {"result": PIXEL}, id="image"),
    pytest.param(ImageGeneration(PIXEL), "image_generation_call", {"result": PIXEL}, id="image without previews"),
    pytest.param(FileSearch(("a", "b")), "file_search_call", {"queries": ["a", "b"]}, id="file search"),
    pytest.param(WebSearch("a", status="failed"), "web_search_call", {"status": "failed"}, id="failed web search"),
]


@pytest.mark.parametrize(("part", "kind", "fields"), HOSTED)
async def test_the_services_own_tools_are_shown_and_do_not_disturb_the_next_turn(
    part: Any, kind: str, fields: dict[str, Any]
) -> None:
    projected, _ = await two_turns(responses_client, part, Text("Hi"))
    assert types(projected) == [kind, "message"]
    assert {name: projected.items[0][name] for name in fields} == fields


async def test_a_web_search_keeps_its_query_and_sources() -> None:
    projected, _ = await two_turns(responses_client, WebSearch("cats", ("https://x",)), Text("Hi"))
    action = projected.items[0]["action"]
    assert action["query"] == "cats"
    assert [source["url"] for source in action["sources"]] == ["https://x"]


async def test_parts_citations_and_refusals_go_back_as_they_came() -> None:
    cited = Text("See this", annotations=(UrlCitation("https://x", "X", 0, 3),))
    projected, request = await two_turns(responses_client, Said((cited, Refusal("No more"))))
    kinds = [part["type"] for part in projected.items[0]["content"]]
    assert kinds == ["output_text", "refusal"]
    assert [a["url"] for a in projected.items[0]["content"][0]["annotations"]] == ["https://x"]
    sent = [part for item in request["input"] if item.get("role") == "assistant" for part in item["content"]]
    assert [part["type"] for part in sent] == kinds


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client, anthropic_client])
async def test_a_call_of_the_callers_tool_is_said_once(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(ToolCall("f", {"a": 1}, call_id="call_1"), ToolCall("g", {"b": 2}, call_id="call_2")))
        projected = await run(upstream, connect, [Message("user", ["Go"])])
    calls = [(i["call_id"], i["name"], i["arguments"].replace(" ", "")) for i in projected.items]
    assert calls == [("call_1", "f", '{"a":1}'), ("call_2", "g", '{"b":2}')]
