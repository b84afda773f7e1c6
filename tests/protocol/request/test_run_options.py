"""The options table: one verdict for every field, and what each forwarded value becomes."""

from typing import Any

import pytest
from azure.ai.agentserver.responses import CreateResponse

from hostedagent import CallerPolicy
from hostedagent.errors import InvalidRequest, RequestError, UnsupportedOption
from hostedagent.protocol.request.options import OPTIONS, parse_options

LENIENT = CallerPolicy(allow_model=True, instructions="append")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


def chat(body: dict[str, Any], policy: CallerPolicy | None = None) -> dict[str, Any]:
    return dict(parse_options(body, policy or CallerPolicy()).chat)


def test_every_field_of_the_sdk_has_a_verdict() -> None:
    fields = {name for base in CreateResponse.__mro__ for name in getattr(base, "__annotations__", {})}

    assert fields - set(OPTIONS) == set()


def test_a_row_that_is_not_forwarded_says_why() -> None:
    silent = [name for name, row in OPTIONS.items() if row.verdict in ("fixed", "refused") and not row.why]

    assert silent == []


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("temperature", 0, {"temperature": 0}),
        ("temperature", 2, {"temperature": 2}),
        ("top_p", 0.5, {"top_p": 0.5}),
        ("presence_penalty", -2, {"presence_penalty": -2}),
        ("frequency_penalty", 2.0, {"frequency_penalty": 2.0}),
        ("max_output_tokens", 16, {"max_tokens": 16}),
        ("parallel_tool_calls", False, {"allow_multiple_tool_calls": False}),
        ("reasoning", {"effort": "low", "summary": None}, {"reasoning": {"effort": "low"}}),
        ("truncation", "auto", {"truncation": "auto"}),
        ("include", ["reasoning.encrypted_content"], {"include": ["reasoning.encrypted_content"]}),
        ("max_tool_calls", 3, {"max_tool_calls": 3}),
        ("top_logprobs", 0, {"top_logprobs": 0}),
        ("prompt_cache_key", "k", {"prompt_cache_key": "k"}),
        ("safety_identifier", "s", {"safety_identifier": "s"}),
        ("user", "u", {"user": "u"}),
        ("tool_choice", "none", {"tool_choice": {"mode": "none"}}),
        ("tool_choice", {"type": "function", "name": "f"},
         {"tool_choice": {"mode": "required", "required_function_name": "f"}}),
        ("tool_choice", {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
         {"tool_choice": {"mode": "auto", "allowed_tools": ["f"]}}),
        ("text", {"format": {"type": "text"}}, {}),
        ("text", {"verbosity": "low"}, {"verbosity": "low"}),
        ("text", {"format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ("text", {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
         {"response_format": {"type": "json_schema",
                              "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}}),
    ],
)  # fmt: skip
def test_a_forwarded_value_becomes_a_chat_option(field: str, value: Any, expected: dict[str, Any]) -> None:
    assert chat({field: value}) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "gpt-x"),
        ("service_tier", "priority"),
        ("metadata", {"a": "b"}),
        ("stream_options", {}),
        ("prompt_cache_retention", "24h"),
        ("no_such_field", 1),
        ("extra_body", {"model": "gpt-x"}),
        ("tools", None),
        ("temperature", None),
    ],
)
def test_what_the_host_fixes_never_reaches_the_run(field: str, value: Any) -> None:
    assert chat({field: value}) == {}


@pytest.mark.parametrize(("field", "value"), [("prompt", {"id": "p"}), ("response_id", "x")])
def test_what_the_host_refuses_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedOption) as refused:
        chat({field: value})

    assert refused.value.param == field


def test_a_lenient_policy_lets_the_model_and_the_instructions_through() -> None:
    assert chat({"model": "m", "instructions": "x"}, LENIENT) == {"model": "m", "instructions": "x"}
    assert parse_options({"instructions": "x"}, LENIENT).echo["instructions"] == "x"


def test_no_policy_lets_the_developers_prompt_be_replaced() -> None:
    with pytest.raises(UnsupportedOption):
        chat({"prompt": {"id": "p"}}, LENIENT)


def test_a_field_that_the_protocol_does_not_have_is_ignored() -> None:
    assert parse_options({"zzz": 1, "temperature": 1}, LENIENT) == parse_options({"temperature": 1}, LENIENT)


def test_a_message_that_quotes_megabytes_is_cut() -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat({"truncation": "x" * 5_000_000})

    assert len(refused.value.message) < 600


@pytest.mark.parametrize("field", sorted(name for name, row in OPTIONS.items() if row.verdict != "protocol"))
@pytest.mark.parametrize("value", [object(), 10**400, "x" * 10_000, [[]], {"type": {}}, float("-0.0")])
def test_a_strange_value_is_refused_or_taken_and_never_breaks(field: str, value: Any) -> None:
    try:
        parse_options({field: value}, LENIENT)
    except RequestError as error:
        assert (error.param or "").startswith(field)
