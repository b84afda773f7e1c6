"""Whether a model call came to its end is known by its finish reason, where its client gives one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, ChatResponseUpdate, Content, UsageDetails
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseCreatedEvent

from hostedagent.agents.model_calls import ModelCalls

CHUNK = ChatCompletionChunk.model_construct(id="c")
CREATED = ResponseCreatedEvent.model_construct(type="response.created")
USAGE = Content.from_usage(UsageDetails(input_token_count=1))
HI = Content.from_text("hi")


def update(
    *contents: Content, event: Any = None, finish: Any = None, response_id: str | None = "r1", author: str | None = None
) -> AgentResponseUpdate:
    chat = ChatResponseUpdate(contents=[*contents], raw_representation=event, finish_reason=finish)
    return AgentResponseUpdate(
        contents=[*contents],
        raw_representation=chat,
        finish_reason=finish,
        response_id=response_id,
        author_name=author,
        role="assistant",
    )


def seen(updates: Sequence[AgentResponseUpdate]) -> ModelCalls:
    calls = ModelCalls()
    for one in updates:
        calls.see(one)
    return calls


STRIPPED = update(event=CHUNK, finish="stop")
STRIPPED.finish_reason = None
ENDED = {
    "nothing": [],
    "a client that is not known": [update(HI), update(HI, event=object())],
    "a finish reason": [update(HI, event=CHUNK), update(event=CHUNK, finish="stop")],
    "a finish reason that only the client's update has": [update(HI, event=CHUNK), STRIPPED],
    "usage after the reason": [update(HI, event=CHUNK, finish="stop"), update(USAGE, event=CHUNK)],
    "something empty after the reason": [update(HI, event=CHUNK, finish="stop"), update(event=CHUNK)],
    "usage instead of a reason": [update(HI, event=CHUNK), update(USAGE, event=CHUNK)],
    "a footnote of the agent's own": [update(HI, event=CHUNK, finish="stop"), update(HI)],
    "no ids": [update(HI, event=CHUNK, finish="stop", response_id=None), update(USAGE, event=CHUNK, response_id=None)],
}
CUT = {
    "text without an end": [update(HI, event=CHUNK)],
    "a beginning without anything": [update(event=CREATED)],
    "the second of two": [update(HI, event=CHUNK, finish="tool_calls"), update(HI, event=CHUNK, response_id="r2")],
    "one of two agents": [
        update(HI, event=CHUNK, author="a"),
        update(HI, event=CHUNK, author="b"),
        update(event=CHUNK, author="b", finish="stop"),
    ],
    "a tool that ran all the same": [
        update(Content.from_function_call("c", "f", arguments="{}"), event=CHUNK),
        update(Content.from_function_result("c", result="done")),
    ],
}


@pytest.mark.parametrize("updates", ENDED.values(), ids=ENDED)
def test_a_model_call_that_came_to_its_end_is_not_cut(updates: list[AgentResponseUpdate]) -> None:
    assert not seen(updates).is_cut


@pytest.mark.parametrize("updates", CUT.values(), ids=CUT)
def test_a_model_call_without_its_end_is_cut(updates: list[AgentResponseUpdate]) -> None:
    assert seen(updates).is_cut


def test_a_run_that_says_nothing_is_cut_where_an_answer_was_expected() -> None:
    calls = ModelCalls()
    assert not calls.is_cut
    calls.is_expected = True
    assert calls.is_cut
    calls.see(update())
    assert not calls.is_cut


@pytest.mark.parametrize("made", ["function_result", "function_approval_request"])
def test_nothing_follows_what_the_loop_makes_of_half_an_answer(made: Any) -> None:
    call = Content.from_function_call("c", "f", arguments="{}", id="c")
    question = Content.from_function_approval_request("c", call)
    calls = seen([update(call, event=CHUNK)])
    last = update(Content.from_function_result("c", result="x") if made == "function_result" else question)

    assert calls.see(last)
    assert calls.cut_at is last


@pytest.mark.parametrize(
    ("fragments", "refusal"),
    [(["{}"], None), ([""], None), (['{"a":', "1}"], None), (['{"a":'], "half"), (["nonsense"], "half")],
)
def test_a_call_may_run_when_its_arguments_are_whole(fragments: list[str], refusal: str | None) -> None:
    calls = seen([update(Content.from_function_call("c", "f", arguments=text)) for text in fragments])

    assert calls.refusal_of("c") == refusal
    assert calls.refusal_of("another") is None


def called(text: str, call_id: str = "c1") -> Content:
    return Content.from_function_call(call_id, "look", arguments=text)


def test_an_id_that_the_next_answer_uses_again_is_another_call() -> None:
    first, second = '{"city": "Rome"}', '{"city": "Oslo"}'
    calls = seen([update(called(first), finish="tool_calls"), update(called(second), finish="tool_calls")])
    assert calls.refusal_of("c1") is None


def test_half_the_arguments_of_a_reused_id_are_still_refused() -> None:
    calls = seen([update(called('{"city": "Rome"}'), finish="tool_calls"), update(called('{"ci'), finish="tool_calls")])
    assert calls.refusal_of("c1") == "half"
