"""Each rule of each provider catches the request that breaks it, and the fake fails loudly for a script gone wrong."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import httpx
import pytest
from upstream import (
    BrokenRuleError,
    Ledger,
    Text,
    ToolCall,
    Upstream,
    check_anthropic_messages,
    check_chat_completions,
    check_openai_responses,
)

Json = dict[str, Any]
ARGUMENTS = '{"city": "Paris"}'


def user(text: Any = "Hello") -> Json:
    return {"role": "user", "content": text}


def said(*calls: str, arguments: str = ARGUMENTS) -> Json:
    made = [{"id": id_, "type": "function", "function": {"name": "weather", "arguments": arguments}} for id_ in calls]
    return {"role": "assistant", "content": "Let me look.", "tool_calls": made}


def answer(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "sunny"}


EMPTY: Json = {"role": "assistant", "content": ""}

CHAT_BREAKS: dict[str, list[Json]] = {
    "a request has messages": [],
    "every tool call is answered at once": [user(), said("a", "b"), answer("a"), user("and b?"), answer("b")],
    "a tool call is answered once": [user(), said("a"), answer("a"), answer("a")],
    "a tool message answers a call": [user(), answer("a")],
    "call ids are unique": [user(), said("a"), answer("a"), said("a"), answer("a")],
    "tool_calls are left out rather than empty": [user(), said()],
    "arguments are one JSON object": [user(), said("a", arguments=ARGUMENTS * 2), answer("a")],
    "messages are not empty": [user(), EMPTY],
    "content types fit the role": [user([{"type": "input_text", "text": "Hello"}])],
    "roles are known": [{"role": "robot", "content": "Hello"}],
}
CHAT_GOOD = [
    {"role": "system", "content": "Be kind."},
    user(),
    said("a", "b"),
    answer("b"),
    answer("a"),
    said("c"),
    answer("c"),
    {"role": "assistant", "content": None, "refusal": "No."},
    user([{"type": "text", "text": "Why?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
]


def uses(*ids: str, text: str = "Let me look.") -> Json:
    blocks = [{"type": "tool_use", "id": id_, "name": "weather", "input": {"city": "Paris"}} for id_ in ids]
    return {"role": "assistant", "content": [{"type": "text", "text": text}, *blocks]}


def results(*ids: str) -> Json:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": "sunny"} for id_ in ids]}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


THOUGHT: Json = {"type": "thinking", "thinking": "Hm."}
SEARCH: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
FOUND: Json = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
LATE_RESULT: Json = {"role": "user", "content": [text("Here:"), *results("a")["content"]]}

ANTHROPIC_BREAKS: dict[str, list[Json]] = {
    "the user speaks first": [{"role": "assistant", "content": "Hello"}],
    "every tool_use is answered in the next turn": [user(), uses("a", "b"), results("a"), uses("c"), results("b", "c")],
    "a tool_result answers a tool_use of the turn before": [user(), results("a")],
    "a tool_use is answered once": [user(), uses("a"), results("a", "a")],
    "tool_results stand first": [user(), uses("a"), LATE_RESULT],
    "tool_use ids are unique": [user(), uses("a"), results("a"), uses("a"), results("a")],
    "text blocks are not empty": [user(), uses("a", text=" "), results("a")],
    "messages are not empty": [user(), {"role": "assistant", "content": []}, user()],
    "roles are user and assistant": [user(), {"role": "system", "content": "Be kind."}],
    "blocks fit the role": [user(uses("a")["content"]), results("a")],
    "thinking is signed": [user(), {"role": "assistant", "content": [THOUGHT]}, user()],
    "tool input is an object": [
        user(),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": ARGUMENTS}]},
        results("a"),
    ],
    "a server tool use has its result beside it": [user(), {"role": "assistant", "content": [SEARCH]}, user()],
}
ANTHROPIC_GOOD = [
    user(),
    user("And now?"),
    {"role": "assistant", "content": [{**THOUGHT, "signature": "sealed"}, SEARCH, FOUND]},
    uses("a", "b"),
    results("b"),
    results("a"),
    user("Well?"),
]


def item(type_: str, **fields: Any) -> Json:
    return {"type": type_, **fields}


def call(call_id: str = "a", **fields: Any) -> Json:
    return item("function_call", call_id=call_id, name="weather", arguments=ARGUMENTS, **fields)


def output(call_id: str = "a") -> Json:
    return item("function_call_output", call_id=call_id, output="sunny")


REASONING = item("reasoning", id="rs_1", summary=[], encrypted_content="ciphertext")
INPUT_BY_ASSISTANT = item("message", role="assistant", content=[{"type": "input_text", "text": "Hello"}])

RESPONSES_BREAKS: dict[str, list[Json]] = {
    "an output follows its call": [user(), output()],
    "every call has an output": [user(), call()],
    "a call has one output": [user(), call(), output(), output()],
    "call ids are unique": [user(), call(), call(), output()],
    "item ids are unique": [user(), call("a", id="fc_1"), output("a"), call("b", id="fc_1"), output("b")],
    "ids begin as their type says": [user(), call(id="call_1"), output()],
    "ids have 1 to 64 characters": [user(), call("x" * 65), output("x" * 65)],
    "content types fit the role": [user(), INPUT_BY_ASSISTANT],
    "messages are not empty": [user([])],
    "roles are known": [{"role": "tool", "content": "sunny"}],
    "reasoning is followed by what came of it": [user(), REASONING, user()],
    "reasoning has a summary": [user(), item("reasoning", id="rs_1", encrypted_content="x"), call(), output()],
    "reasoning that is not stored comes encrypted": [
        user(),
        item("reasoning", id="rs_1", summary=[]),
        call(),
        output(),
    ],
    "arguments are one JSON object": [user(), {**call(), "arguments": ARGUMENTS * 2}, output()],
    "arguments are text": [user(), {**call(), "arguments": {"city": "Paris"}}, output()],
    "a tool output is text or content": [user(), call(), {**output(), "output": None}],
    "an approval answers a request": [item("mcp_approval_response", approval_request_id="mcpr_1", approve=True)],
}
RESPONSES_GOOD = [
    {"role": "developer", "content": "Be kind."},
    user([{"type": "input_text", "text": "Hello"}, {"type": "input_image", "image_url": "data:,"}]),
    REASONING,
    call("a", id="fc_1"),
    call("b"),
    output("b"),
    output("a"),
    item("message", role="assistant", content=[{"type": "output_text", "text": "Hi", "annotations": []}]),
    item("mcp_approval_request", id="mcpr_1", server_label="docs", name="find", arguments="{}"),
    item("mcp_approval_response", approval_request_id="mcpr_1", approve=True),
]


def test_good_transcripts_break_no_rule() -> None:
    check_chat_completions({"messages": CHAT_GOOD})
    check_anthropic_messages({"max_tokens": 1, "messages": ANTHROPIC_GOOD})
    check_openai_responses({"input": RESPONSES_GOOD, "store": False})
    check_openai_responses({"input": "Hello"})


@pytest.mark.parametrize(("rule", "messages"), CHAT_BREAKS.items(), ids=CHAT_BREAKS.keys())
def test_chat_completions_refuses(rule: str, messages: list[Json]) -> None:
    with pytest.raises(BrokenRuleError) as caught:
        check_chat_completions({"messages": messages})
    assert caught.value.rule == rule


@pytest.mark.parametrize(("rule", "messages"), ANTHROPIC_BREAKS.items(), ids=ANTHROPIC_BREAKS.keys())
def test_anthropic_refuses(rule: str, messages: list[Json]) -> None:
    with pytest.raises(BrokenRuleError) as caught:
        check_anthropic_messages({"max_tokens": 1, "messages": messages})
    assert caught.value.rule == rule


@pytest.mark.parametrize(("rule", "items"), RESPONSES_BREAKS.items(), ids=RESPONSES_BREAKS.keys())
def test_responses_refuses(rule: str, items: list[Json]) -> None:
    with pytest.raises(BrokenRuleError) as caught:
        check_openai_responses({"input": items, "store": False})
    assert caught.value.rule == rule


@pytest.mark.parametrize("arguments", [ARGUMENTS * 2, '{"city": "Rome"}'])
def test_arguments_that_come_back_changed_are_caught(arguments: str) -> None:
    ledger = Ledger(arguments={"a": ARGUMENTS})
    with pytest.raises(BrokenRuleError, match="arguments"):
        check_openai_responses({"input": [user(), {**call(), "arguments": arguments}, output()]}, ledger)


def test_arguments_the_model_itself_got_wrong_may_come_back() -> None:
    broken = '{"city": '
    ledger = Ledger(arguments={"a": broken})
    check_chat_completions({"messages": [user(), said("a", arguments=broken), answer("a")]}, ledger)
    wrapped: Json = {"type": "tool_use", "id": "a", "name": "weather", "input": {"raw": broken}}
    transcript = [user(), {"role": "assistant", "content": [wrapped]}, results("a")]
    check_anthropic_messages({"max_tokens": 1, "messages": transcript}, ledger)


def test_a_continued_response_knows_the_calls_of_the_one_before() -> None:
    ledger = Ledger(transcripts={"resp_1": [item("message", **user()), call(id="fc_1")]})
    check_openai_responses({"previous_response_id": "resp_1", "input": [output()]}, ledger)
    for items, rule in [
        ([user()], "every call has an output"),
        ([output("b"), output()], "an output follows its call"),
        ([call("b", id="fc_1"), output(), output("b")], "item ids are unique"),
    ]:
        with pytest.raises(BrokenRuleError, match=rule):
            check_openai_responses({"previous_response_id": "resp_1", "input": items}, ledger)
    with pytest.raises(BrokenRuleError, match="is stored"):
        check_openai_responses({"previous_response_id": "resp_2", "input": "Hello"}, ledger)


def test_a_stored_call_without_its_reasoning_is_refused() -> None:
    ledger = Ledger(transcripts={"resp_1": [item("message", **user()), REASONING, call(id="fc_1")]})
    check_openai_responses({"input": [user(), REASONING, call(id="fc_1"), output()]}, ledger)
    check_openai_responses({"input": [user(), call(), output()]}, ledger)
    with pytest.raises(BrokenRuleError, match="a stored item comes with its reasoning"):
        check_openai_responses({"input": [user(), call(id="fc_1"), output()]}, ledger)


def test_checks_leave_the_request_as_it_was() -> None:
    body: Json = {"input": deepcopy(RESPONSES_GOOD), "store": False}
    check_openai_responses(body)
    assert body["input"] == RESPONSES_GOOD


async def post(upstream: Upstream, path: str, body: Json) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(upstream.url + path, json=body)


async def test_a_broken_rule_is_refused_as_the_provider_would_and_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="request 1 breaks a rule of the provider"):
        async with Upstream() as upstream:
            refused = await post(upstream, "/v1/responses", {"input": [user(), output()]})
            assert refused.status_code == 400
            assert refused.json()["error"]["message"].startswith("No tool call found")


async def test_a_request_beyond_the_script_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="request 1 found the script at its end"):
        async with Upstream() as upstream:
            assert (await post(upstream, "/v1/chat/completions", {"messages": [user()]})).status_code == 500


async def test_a_reply_nobody_asked_for_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="1 scripted replies were never asked for"):
        async with Upstream() as upstream:
            upstream.script(Text("One"), Text("Two"))
            await post(upstream, "/v1/chat/completions", {"messages": [user()]})


async def test_replies_for_a_word_go_to_the_conversation_that_says_it() -> None:
    async with Upstream() as upstream:
        upstream.when("Paris", Text("in Paris"))
        upstream.script(Text("anywhere"))
        for said_by_user in ("Hello", "Hello Paris"):
            response = await post(upstream, "/v1/chat/completions", {"messages": [user(said_by_user)]})
            expected = "in Paris" if "Paris" in said_by_user else "anywhere"
            assert response.json()["choices"][0]["message"]["content"] == expected


async def test_a_request_the_fake_cannot_read_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="could not answer"):
        async with Upstream() as upstream:
            with pytest.raises(httpx.RemoteProtocolError):
                await post(upstream, "/v1/chat/completions", {"messages": [{"content": "nobody says this"}]})


async def test_an_unknown_address_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="no provider listens"):
        async with Upstream() as upstream:
            await post(upstream, "/v1/embeddings", {})


async def test_an_error_of_the_test_itself_is_not_hidden_by_the_script() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Upstream() as upstream:
            upstream.script(ToolCall("never"))
            _ = 1 / 0
