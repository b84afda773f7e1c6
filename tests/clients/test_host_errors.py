"""What a caller sees when the model's service fails, and that the next turn's model sees nothing of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hosted import CLIENTS, Hosted, hosting, outline
from upstream import (
    Dropped,
    Failed,
    HttpError,
    Incomplete,
    Reasoning,
    Reply,
    StreamError,
    Text,
    ToolCall,
    anthropic_client,
    chat_completion_client,
    responses_client,
    turn,
)

SECRET = "the-upstream-said-this"
ONCE = Text("Once upon a time")
PARIS = ToolCall("weather", {"city": "Paris"})
FILTERED = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}

HTTP_ERRORS = {
    "429": (HttpError(429, SECRET, "rate_limit_exceeded", headers={"retry-after": "7"}), "rate_limit_exceeded"),
    "401": (HttpError(401, SECRET, "invalid_api_key"), "authentication_error"),
    "403": (HttpError(403, SECRET), "authentication_error"),
    "408": (HttpError(408, SECRET), "timeout"),
    "400": (HttpError(400, SECRET, "invalid_prompt", param="prompt"), "invalid_prompt"),
    "413": (HttpError(413, SECRET), "invalid_prompt"),
    "500": (HttpError(500, SECRET, "server_error"), "server_error"),
    "529": (HttpError(529, SECRET, "overloaded"), "server_error"),
}
every_client = pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS.keys())


async def fails(host: Hosted, caplog: pytest.LogCaptureFixture, *replies: Reply, **body: Any) -> Sequence[str]:
    """Play a turn between two good ones; tells what the failed one showed, after checking that nothing leaked."""
    host.script(Text("Fine."), *replies, Text("Next."))
    good = await host.ask("Hi", **body)
    link = {} if "conversation" in body else {"previous_response_id": good.response["id"]}
    with caplog.at_level(logging.INFO):
        log = await host.ask("Fail.", **body, **link)
    stored = await host.stored()
    assert stored["output"] == log.items
    assert (stored["status"], stored["error"]) == (log.status, log.response["error"])
    assert SECRET not in json.dumps([log.events, stored])
    assert SECRET not in caplog.text
    calls = len(host.upstream.requests)
    await (host.then("And?") if link else host.ask("And?", **body))
    assert len(host.upstream.requests) == calls + 1
    return outline(log)


@every_client
@pytest.mark.parametrize(("error", "code"), HTTP_ERRORS.values(), ids=HTTP_ERRORS.keys())
async def test_an_error_of_the_service_is_told_by_its_kind_alone(
    connect: Any, error: HttpError, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(connect) as host:
        [end] = await fails(host, caplog, error)
        assert end.startswith(f"failed {code} ")
        assert host.asked == ["user: Hi", "assistant: Fine.", "user: And?"]


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
async def test_the_content_filter_is_told_from_other_bad_requests(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(connect) as host:
        [end] = await fails(host, caplog, HttpError(400, SECRET, "content_filter", param="prompt", inner=FILTERED))
        assert end.startswith("failed content_filter ")


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
@pytest.mark.parametrize("code", ["context_length_exceeded", "rate_limit_exceeded", "invalid_prompt", "content_filter"])
@pytest.mark.parametrize("by", ["status", "error event", "failed"])
async def test_a_code_of_the_service_is_the_same_however_it_comes(
    connect: Any, code: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends: dict[str, Any] = {"error event": StreamError(code, SECRET), "failed": Failed(code, SECRET)}
    reply = HttpError(400, SECRET, code) if by == "status" else turn(ONCE, end=ends[by])
    async with hosting(connect) as host:
        seen = await fails(host, caplog, reply)
        assert seen[-1].startswith(f"failed {code} ")


BREAKS = {
    "connection": Dropped(),
    "error event": StreamError(message=SECRET),
    "failed": Failed(message=SECRET),
}


@every_client
@pytest.mark.parametrize("end", BREAKS.values(), ids=BREAKS.keys())
@pytest.mark.parametrize("by", ["response", "conversation"])
async def test_a_broken_answer_is_kept_as_incomplete_and_never_told_to_the_model(
    connect: Any, end: Any, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(connect) as host:
        body = {"conversation": "conv_1"} if by == "conversation" else {}
        first, last = await fails(host, caplog, turn(ONCE, end=end), **body)
        assert first == "0 message incomplete"
        assert last.startswith("failed server_error ")
        assert host.asked == ["user: Hi", "assistant: Fine.", "user: And?"]


@every_client
@pytest.mark.parametrize(
    "broken",
    [HttpError(429, SECRET, "rate_limit_exceeded"), turn(ONCE, end=Dropped())],
    ids=["refused", "dropped"],
)
async def test_what_was_done_before_the_failure_is_kept_with_its_usage_but_not_told_to_the_model(
    connect: Any, broken: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(connect) as host:
        seen = await fails(host, caplog, turn(PARIS), broken)
        assert seen[0] == '0 mcp_call agent weather "sunny in Paris" completed'
        assert "usage=" in seen[-1]
        assert host.asked == ["user: Hi", "assistant: Fine.", "user: And?"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("server_error", "server_error"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("content_filter", "content_filter"),
        ("invalid_prompt", "invalid_prompt"),
        ("something_new", "server_error"),
    ],
)
async def test_a_failed_response_of_the_service_says_why(
    code: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting() as host:
        _, last = await fails(host, caplog, turn(ONCE, end=Failed(code, SECRET)))
        assert last.startswith(f"failed {told} ")


@every_client
@pytest.mark.parametrize("end", BREAKS.values(), ids=BREAKS.keys())
async def test_no_tool_runs_when_the_answer_that_calls_it_breaks(
    connect: Any, end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(connect) as host:
        first, last = await fails(host, caplog, turn(PARIS, end=end))
        assert first == "0 mcp_call agent weather incomplete"
        assert last.startswith("failed server_error ")
        assert host.asked == ["user: Hi", "assistant: Fine.", "user: And?"]


@every_client
@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_a_cut_answer_is_incomplete_and_the_model_may_go_on_from_it(connect: Any, reason: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(ONCE, end=Incomplete(reason)), Text("Next."))
        log = await host.ask("Tell me.")
        assert outline(log) == ["0 message incomplete", f"incomplete {reason} usage=10/5"]
        await host.then("Go on.")
        assert host.asked == ["user: Tell me.", "assistant: Once upon a time", "user: Go on."]


@pytest.mark.parametrize("connect", [responses_client, anthropic_client])
async def test_reasoning_that_came_to_nothing_is_kept_but_not_told_to_the_model(connect: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(Reasoning(("Hm.",), encrypted="sealed"), end=Incomplete()), Text("Next."))
        log = await host.ask("Tell me.")
        assert outline(log) == ["0 reasoning incomplete", "incomplete max_output_tokens usage=10/5"]
        await host.then("Go on.")
        assert host.asked == ["user: Tell me.", "user: Go on."]


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
async def test_a_call_cut_in_its_arguments_is_answered_so_that_the_model_can_mend_it(connect: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(ToolCall("weather", '{"city": "Pa'), end=Incomplete()), Text("Sorry."), Text("Next."))
        log = await host.ask("Weather?")
        assert log.status == "completed"
        await host.then("And?")
        assert host.asked == [
            "user: Weather?",
            r'call weather {"raw": "{\"city\": \"Pa"}',
            "result Error: Argument parsing failed.",
            "assistant: Sorry.",
            "user: And?",
        ]


async def test_a_tool_that_raises_tells_the_model_and_the_caller_nothing_of_its_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def weather(city: str) -> str:
        raise RuntimeError(SECRET)

    async with hosting(tools=[weather]) as host:
        host.script(turn(PARIS), Text("Sorry."))
        with caplog.at_level(logging.INFO):
            log = await host.ask("Weather?")
        assert outline(log)[-1] == "completed usage=20/10"
        assert SECRET not in json.dumps([log.events, host.upstream.requests])
        assert SECRET not in caplog.text
