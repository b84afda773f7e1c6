import copy
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, get_args

import pytest
from inline_snapshot import snapshot
from openai.types.responses import ResponseStreamEvent

from hostedagent.protocol.stream.grammar import EVENTS
from hostedagent.testing import EventLog, serve

from .bare_host import BareHost, body
from .full_log import full_log

Events = list[dict[str, Any]]


def of(events: Events, event_type: str, nth: int = 0) -> dict[str, Any]:
    return [event for event in events if event["type"] == f"response.{event_type}"][nth]


async def test_the_bare_sdk_streams_a_valid_log_with_stable_lines() -> None:
    async with serve(BareHost().app) as client:
        log = (await client.post("/responses", json=body(stream=True))).log()

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "Hel"',
            '5 text 0.0 "lo"',
            '6 text= 0.0 "Hello"',
            "7 part- 0.0 output_text",
            "8 item- 0 message completed",
            "9 item+ 1 function_call get_weather call-1",
            '10 args 1 "{\\"city\\":\\"Paris\\"}"',
            '11 args= 1 "{\\"city\\":\\"Paris\\"}"',
            "12 item- 1 function_call get_weather call-1 completed",
            "13 item+ 2 reasoning",
            "14 part+ 2.0 summary_text",
            '15 summary 2.0 "Let me see."',
            '16 summary= 2.0 "Let me see."',
            "17 part- 2.0 summary_text",
            "18 item- 2 reasoning completed",
            "19 completed usage=3/2",
        ]
    )
    assert log.text == "Hello"
    assert [item["type"] for item in log.items] == ["message", "function_call", "reasoning"]


async def test_a_handler_that_breaks_leaves_an_item_open_which_the_log_reports() -> None:
    async with serve(BareHost().app) as client:
        reply = await client.post("/responses", json=body("break", stream=True))

    with pytest.raises(AssertionError, match="comes while items are open: message 0"):
        reply.log()


def test_a_log_of_every_family_is_valid_and_reads_well() -> None:
    assert EventLog(full_log()).lines() == snapshot(
        [
            "0 created queued",
            "1 queued",
            "2 in_progress",
            "3 item+ 0 message",
            "4 part+ 0.0 output_text",
            '5 text 0.0 "Hel"',
            '6 text 0.0 "lo"',
            "7 note 0.0 url_citation https://example.com/0",
            "8 note 0.0 url_citation https://example.com/1",
            '9 text= 0.0 "Hello"',
            "10 part- 0.0 output_text",
            "11 part+ 0.1 refusal",
            '12 refusal 0.1 "But "',
            '13 refusal 0.1 "no."',
            '14 refusal= 0.1 "But no."',
            "15 part- 0.1 refusal",
            "16 item- 0 message completed",
            "17 item+ 1 reasoning",
            "18 part+ 1.0 summary_text",
            '19 summary 1.0 "Hm"',
            '20 summary= 1.0 "Hm"',
            "21 part- 1.0 summary_text",
            '22 thought 1.0 "raw"',
            '23 thought= 1.0 "raw"',
            "24 item- 1 reasoning completed",
            "25 item+ 2 function_call get_weather call-1",
            '26 args 2 "{\\"city\\":"',
            '27 args 2 "\\"Paris\\"}"',
            '28 args= 2 "{\\"city\\":\\"Paris\\"}"',
            "29 item- 2 function_call get_weather call-1 completed",
            "30 item+ 3 mcp_call docs ask",
            "31 mcp_call.in_progress 3",
            '32 args 3 "{}"',
            '33 args= 3 "{}"',
            "34 mcp_call.completed 3",
            "35 item- 3 mcp_call docs ask ok completed",
            "36 item+ 4 custom_tool_call run call-2",
            '37 input 4 "a"',
            '38 input 4 "b"',
            '39 input= 4 "ab"',
            "40 item- 4 custom_tool_call run call-2 completed",
            "41 item+ 5 code_interpreter_call",
            "42 code_interpreter_call.in_progress 5",
            '43 code 5 "1+"',
            '44 code 5 "2"',
            '45 code= 5 "1+2"',
            "46 code_interpreter_call.interpreting 5",
            "47 code_interpreter_call.completed 5",
            "48 item- 5 code_interpreter_call completed",
            "49 item+ 6 image_generation_call",
            "50 image_generation_call.in_progress 6",
            "51 image_generation_call.generating 6",
            "52 image_generation_call.partial_image 6 0",
            "53 image_generation_call.completed 6",
            "54 item- 6 image_generation_call AAAA completed",
            "55 item+ 7 shell_call call-3",
            '56 command+ 7.0 ""',
            '57 command 7.0 "ls"',
            '58 command= 7.0 "ls"',
            "59 item- 7 shell_call call-3 completed",
            "60 item+ 8 function_call whole call-4",
            "61 item- 8 function_call whole call-4 completed",
            "62 completed usage=7/9",
        ]
    )


def test_two_runs_of_one_scenario_have_the_same_lines() -> None:
    assert EventLog(full_log("a")).lines() == EventLog(full_log("b")).lines()


async def test_sse_may_be_cut_anywhere() -> None:
    text = "".join(f"event: {event['type']}\r\ndata: {json.dumps(event)}\r\n\r\n: ping\r\n\r\n" for event in full_log())
    whole = EventLog.from_sse(text)

    async def bytewise() -> AsyncIterator[bytes]:
        for byte in text.encode():
            yield bytes([byte])

    cut = await EventLog.from_sse(bytewise())
    assert cut.events == whole.events == full_log()
    with pytest.raises(AssertionError, match="ended inside a frame"):
        EventLog.from_sse(text.removesuffix(": ping\r\n\r\n")[:-3])


def test_an_event_line_that_contradicts_its_data_is_reported() -> None:
    with pytest.raises(AssertionError, match="says type"):
        EventLog.from_sse(b'event: response.created\ndata: {"type": "error"}\n\n')


Mutation = Callable[[Events], object]


def drop(event_type: str, nth: int = 0) -> Mutation:
    def mutate(events: Events) -> None:
        events.remove(of(events, event_type, nth))
        renumber(events)

    return mutate


def repeat(event_type: str, nth: int = 0) -> Mutation:
    def mutate(events: Events) -> None:
        event = of(events, event_type, nth)
        events.insert(events.index(event) + 1, copy.deepcopy(event))
        renumber(events)

    return mutate


def change(event_type: str, path: str, value: object, nth: int = 0) -> Mutation:
    def mutate(events: Events) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        target: Any = of(events, event_type, nth)
        for step in steps:
            target = target[step]
        target[last] = value

    return mutate


def swap(first: str, second: str) -> Mutation:
    def mutate(events: Events) -> None:
        one, two = events.index(of(events, first)), events.index(of(events, second))
        events[one], events[two] = events[two], events[one]
        renumber(events)

    return mutate


def renumber(events: Events) -> None:
    for number, event in enumerate(events):
        event["sequence_number"] = number


def start_at_one(events: Events) -> None:
    for number, event in enumerate(events, start=1):
        event["sequence_number"] = number


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "numbers start at one": (start_at_one, "has sequence_number 1, expected 0"),
    "a number is missing": (lambda events: events.remove(of(events, "output_text.delta")), "has sequence_number"),
    "created is missing": (drop("created"), "response.created is the first event"),
    "created comes twice": (repeat("created"), "response.created is the first event"),
    "in_progress before created": (swap("created", "in_progress"), "response.created is the first event"),
    "queued after in_progress": (swap("queued", "in_progress"), "repeated or out of order"),
    "in_progress comes twice": (repeat("in_progress"), "repeated or out of order"),
    "created is completed": (change("created", "response.status", "completed"), "has response.status 'completed'"),
    "created has output": (change("created", "response.output", ["?"]), "has output before any item"),
    "unknown type": (change("queued", "type", "response.thinking"), "is of no known type"),
    "a bare error": (change("queued", "type", "error"), "is a bare error"),
    "no terminal": (drop("completed"), "without a terminal event"),
    "two terminals": (repeat("completed"), "comes after the terminal event"),
    "terminal in the middle": (swap("output_item.done", "completed"), "comes while items are open"),
    "terminal with a foreign status": (
        change("completed", "response.status", "failed"),
        "has response.status 'failed'",
    ),
    "terminal with another id": (change("completed", "response.id", "resp_2"), "response.id is 'resp_2'"),
    "terminal with other output": (change("completed", "response.output.0.content.0.text", "?"), "response.output is"),
    "terminal without output": (change("completed", "response.output", []), r"response.output is \[\]"),
    "completed with an error": (change("completed", "response.error", {"code": "x"}), "with an error or a reason"),
    "usage is no count": (change("completed", "response.usage.input_tokens", "7"), "usage.input_tokens '7'"),
    "usage lacks the total": (change("completed", "response.usage.total_tokens", None), "usage.total_tokens None"),
    "usage details no count": (
        change("completed", "response.usage.output_tokens_details", {"reasoning_tokens": -1}),
        "output_tokens_details",
    ),
    "index skips": (change("output_item.added", "output_index", 1), "output_index is 1, expected 0"),
    "item id used twice": (change("output_item.added", "item.id", "message_0", 1), "no id, or a used one"),
    "item never added": (drop("output_item.added"), "names no open item"),
    "item never done": (drop("output_item.done"), "comes while items are open: message 0"),
    "item done twice": (repeat("output_item.done"), "names no open item"),
    "item changes its id": (change("output_item.done", "item.id", "x"), "item.id is 'x'"),
    "item changes its type": (change("output_item.done", "item.type", "reasoning"), "item.type is 'reasoning'"),
    "item done in progress": (
        change("output_item.done", "item.status", "in_progress"),
        "has item.status 'in_progress'",
    ),
    "item text differs": (change("output_item.done", "item.content.0.text", "Other"), "item.content is"),
    "item lacks its content": (change("output_item.done", "item.content", []), "item.content is"),
    "part never added": (drop("content_part.added"), "names no open part"),
    "part never done": (drop("content_part.done"), "comes while another part is open"),
    "last part never done": (drop("content_part.done", 1), "comes while a part of content is open"),
    "part done twice": (repeat("content_part.done"), "names no open part"),
    "part index skips": (change("content_part.added", "content_index", 1), "content_index is 1, expected 0"),
    "part of a foreign type": (change("content_part.added", "part.type", "summary_text"), "is a part of type"),
    "part changes its type": (
        change("content_part.done", "part", {"type": "refusal", "refusal": ""}),
        "part.type is 'refusal'",
    ),
    "part begins with text": (change("content_part.added", "part.text", "Hel"), "has text already"),
    "part begins with annotations": (
        change("content_part.added", "part.annotations", ["?"]),
        "has annotations already",
    ),
    "part text differs": (change("content_part.done", "part.text", "Hel"), "part.text is 'Hel'"),
    "part before its text is done": (swap("output_text.done", "content_part.done"), "comes before the done event"),
    "delta outside its part": (swap("content_part.added", "output_text.delta"), "names no open part"),
    "delta with a foreign item id": (change("output_text.delta", "item_id", "x"), "item_id is 'x'"),
    "delta without an item id": (change("output_text.delta", "item_id", None), "item_id is None"),
    "delta of a foreign item": (change("output_text.delta", "output_index", 3), "names no open item"),
    "delta of a foreign part": (change("output_text.delta", "content_index", 3), "names no open part"),
    "delta lost": (drop("output_text.delta"), "text is 'Hello', expected 'lo'"),
    "delta doubled": (repeat("output_text.delta"), "text is 'Hello', expected 'HelHello'"),
    "delta after done": (swap("output_text.done", "output_text.delta"), "text is 'Hello', expected"),
    "delta without text": (change("output_text.delta", "delta", None), "carries no text"),
    "text done twice": (repeat("output_text.done"), "comes after the done event of the same text"),
    "text in a refusal": (change("output_text.delta", "content_index", 1, 1), "names no open part"),
    "annotation lost": (drop("output_text.annotation.added"), "annotation_index is 1, expected 0"),
    "all annotations lost": (change("content_part.done", "part.annotations", []), r"part.annotations is \[\]"),
    "annotation not in the item": (change("output_item.done", "item.content.0.annotations", []), "item.content is"),
    "refusal differs": (change("refusal.done", "refusal", "No"), "refusal is 'No'"),
    "arguments doubled": (repeat("function_call_arguments.delta"), "arguments is"),
    "arguments never done": (drop("function_call_arguments.done"), "before the done event of arguments"),
    "arguments differ in the item": (change("output_item.done", "item.arguments", "{}", 2), "item.arguments is '{}'"),
    "summary part never done": (drop("reasoning_summary_part.done"), "while a part of summary is open"),
    "summary text lost": (drop("reasoning_summary_text.delta"), "text is 'Hm', expected ''"),
    "summary differs in the item": (change("output_item.done", "item.summary.0.text", "x", 1), "item.summary is"),
    "thought differs in the item": (change("output_item.done", "item.content.0.text", "x", 1), "texts of item.content"),
    "thought never done": (drop("reasoning_text.done"), "before the done event of reasoning_text"),
    "code differs": (change("code_interpreter_call_code.done", "code", "1+1"), "code is '1\\+1'"),
    "a step goes back": (
        swap("code_interpreter_call.in_progress", "code_interpreter_call.interpreting"),
        "is repeated, or goes back",
    ),
    "the last step is missing": (drop("code_interpreter_call.completed"), "before the last step"),
    "a step of a foreign item": (
        change("code_interpreter_call.in_progress", "type", "response.mcp_call.in_progress"),
        "is inside an item of type 'code_interpreter_call'",
    ),
    "a failed call is completed": (
        change("mcp_call.completed", "type", "response.mcp_call.failed"),
        "is completed, after the step 'failed'",
    ),
    "an image is skipped": (
        change("image_generation_call.partial_image", "partial_image_index", 1),
        "partial_image_index is 1, expected 0",
    ),
    "custom input differs": (change("custom_tool_call_input.done", "input", "x"), "input is 'x'"),
    "a shell command differs": (change("output_item.done", "item.action.commands", ["x"], 7), "commands is"),
    "whole item changes its content": (
        change("output_item.done", "item.arguments", '{"b":2}', 8),
        "item.arguments, never announced,",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_log_that_breaks_the_grammar_is_reported(name: str) -> None:
    mutate, message = MUTATIONS[name]
    events = full_log()
    mutate(events)

    with pytest.raises(AssertionError, match=message):
        EventLog(events)


def test_a_cancelled_response_may_end_with_open_items_and_no_output() -> None:
    events = full_log()
    end = events.pop()
    events = events[: events.index(of(events, "output_text.delta")) + 1]
    events.append(
        {**end, "type": "response.failed", "response": {**end["response"], "status": "cancelled", "output": []}}
    )
    renumber(events)

    assert EventLog(events).status == "cancelled"


def test_a_failed_response_needs_a_code_and_a_message() -> None:
    events = full_log()
    of(events, "completed")["type"] = "response.failed"
    events[-1]["response"]["status"] = "failed"
    with pytest.raises(AssertionError, match="has no error with a code and a message"):
        EventLog(events)

    events[-1]["response"]["error"] = {"code": "server_error", "message": "no"}
    assert EventLog(events).lines()[-1].endswith('failed server_error "no" usage=7/9')


def test_an_incomplete_response_needs_a_reason() -> None:
    events = full_log()
    events[-1]["type"] = "response.incomplete"
    events[-1]["response"]["status"] = "incomplete"
    with pytest.raises(AssertionError, match=r"has no incomplete_details\.reason"):
        EventLog(events)


def test_the_failure_message_shows_the_stream() -> None:
    events = full_log()
    drop("output_item.done")(events)
    with pytest.raises(AssertionError) as caught:
        EventLog(events)
    assert "the stream was:\n0 created queued\n" in str(caught.value)


def test_the_table_knows_every_event_of_the_installed_openai_client() -> None:
    union = get_args(ResponseStreamEvent)[0]
    known = {str(get_args(model.model_fields["type"].annotation)[0]) for model in get_args(union)}
    not_of_a_response = {kind for kind in known if ".steer" in kind or kind.startswith("response.inject")}
    assert known - not_of_a_response - set(EVENTS) == set()
