"""An agent on the OpenAI Responses client: what the caller sees of each turn, and what the model sees in the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import pytest
from hosted import PIXEL, Way, follow, hosting, joined, outline
from inline_snapshot import snapshot
from upstream import (
    CodeInterpreter,
    ContainerFileCitation,
    FileCitation,
    FileSearch,
    ImageGeneration,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    Message,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    UrlCitation,
    WebSearch,
    turn,
)

from hostedagent.options import OwnTools
from hostedagent.protocol.content.reasoning import seal

PARIS, ROME = ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})
CITATIONS = (
    UrlCitation("https://example.com/a", "A", 0, 3),
    FileCitation("file_1", "a.txt", 4),
    ContainerFileCitation("cntr_1", "file_2", "b.csv", 5, 9),
)
CALLED_PARIS = 'call weather {"city": "Paris"}'
CALLED_ROME = 'call weather {"city": "Rome"}'


@dataclass(frozen=True, slots=True)
class Case:
    """The model calls of one turn, the turn as the caller sees it, and as the next turn's model does."""

    replies: tuple[Reply, ...]
    seen: list[str]
    retold: list[str]


CASES: Mapping[str, Case] = {
    "a tool": Case(
        (turn(PARIS), turn(Text("Sunny."))),
        [
            '0 mcp_call agent weather "sunny in Paris" completed',
            "1 message completed",
            "completed usage=20/10",
        ],
        [CALLED_PARIS, "result sunny in Paris", "assistant: Sunny."],
    ),
    "two tools at once": Case(
        (turn(PARIS, ROME), turn(Text("Both."))),
        [
            '0 mcp_call agent weather "sunny in Paris" completed',
            '1 mcp_call agent weather "sunny in Rome" completed',
            "2 message completed",
            "completed usage=20/10",
        ],
        [CALLED_PARIS, CALLED_ROME, "result sunny in Paris", "result sunny in Rome", "assistant: Both."],
    ),
    # The client sends a message's calls before its text; it does so inside a tool loop, too.
    "two rounds of tools": Case(
        (turn(Text("One."), PARIS), turn(Text("Two."), ROME), turn(Text("Both."))),
        [
            "0 message completed",
            '1 mcp_call agent weather "sunny in Paris" completed',
            "2 message completed",
            '3 mcp_call agent weather "sunny in Rome" completed',
            "4 message completed",
            "completed usage=30/15",
        ],
        [
            *(CALLED_PARIS, "assistant: One.", "result sunny in Paris"),
            *(CALLED_ROME, "assistant: Two.", "result sunny in Rome"),
            "assistant: Both.",
        ],
    ),
    "two text parts": Case(
        (turn(Message((Text("One "), Text("two.")))),),
        ["0 message completed", "completed usage=10/5"],
        ["assistant: One ", "assistant: two."],
    ),
    "two messages": Case(
        (turn(Text("One."), Text("Two.")),),
        ["0 message completed", "1 message completed", "completed usage=10/5"],
        ["assistant: One.", "assistant: Two."],
    ),
    "a refusal": Case(
        (turn(Refusal("I cannot.")),),
        ["0 message completed", "completed usage=10/5"],
        ["refusal: I cannot."],
    ),
    "reasoning before a call and before an answer": Case(
        (
            turn(Reasoning(("I need", "the weather."), encrypted="sealed-1"), PARIS),
            turn(Reasoning(("Now",), encrypted="sealed-2"), Text("Sunny.")),
        ),
        [
            "0 reasoning completed",
            '1 mcp_call agent weather "sunny in Paris" completed',
            "2 reasoning completed",
            "3 message completed",
            "completed usage=20/10",
        ],
        [
            *("reasoning I need the weather.", CALLED_PARIS, "result sunny in Paris"),
            *("reasoning Now", "assistant: Sunny."),
        ],
    ),
    "citations": Case(
        (turn(Text("See this and that.", annotations=CITATIONS)),),
        ["0 message completed", "completed usage=10/5"],
        ["assistant: See this and that."],
    ),
    # The client sends neither searches, nor code, nor images back to the model.
    "a search of the web": Case(
        (turn(WebSearch("news", ("https://example.com",)), Text("Found.")),),
        ["0 web_search_call completed", "1 message completed", "completed usage=10/5"],
        ["assistant: Found."],
    ),
    "a search in files": Case(
        (turn(FileSearch(("news",)), Text("Found.")),),
        ["0 file_search_call completed", "1 message completed", "completed usage=10/5"],
        ["assistant: Found."],
    ),
    "code": Case(
        (turn(CodeInterpreter("print(1)", "1"), Text("Ran.")),),
        ["0 code_interpreter_call completed", "1 message completed", "completed usage=10/5"],
        ["assistant: Ran."],
    ),
    "a hosted MCP call": Case(
        (turn(McpListTools("docs", ("find",)), McpCall("docs", "find", {"q": "x"}, output="found"), Text("Done.")),),
        ["0 mcp_call docs find found completed", "1 message completed", "completed usage=10/5"],
        ["mcp_call", "assistant: Done."],
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@every_case
@pytest.mark.parametrize("way", get_args(Way))
async def test_the_next_turn_tells_the_model_what_this_turn_told_the_caller(case: Case, way: Way) -> None:
    async with hosting() as host:
        assert await follow(host, way, case.replies) == case.seen
        assert host.asked == ["user: Hi", *case.retold, "user: And?"]


@pytest.mark.parametrize("case", [case for case in CASES.values() if CALLED_PARIS in case.retold])
@pytest.mark.parametrize(
    ("form", "way"),
    [
        *(("function_call", way) for way in ("previous_response_id", "conversation", "stateless")),
        *(("hidden", way) for way in ("previous_response_id", "conversation")),
    ],
)
async def test_the_next_turns_model_reads_the_same_calls_in_every_form(case: Case, form: OwnTools, way: Way) -> None:
    async with hosting(own_tools=form) as host:
        seen = await follow(host, way, case.replies)
        assert any("function_call " in line for line in seen) == (form == "function_call")
        assert not any("mcp_call" in line for line in seen)
        assert host.asked == ["user: Hi", *case.retold, "user: And?"]


async def test_reasoning_streams_in_parts_and_goes_back_with_its_own_id_and_ciphertext() -> None:
    async with hosting() as host:
        host.script(turn(Reasoning(("I need", "the weather."), encrypted="sealed"), Text("Hm.")), Text("Next."))
        log = await host.ask("Hi", include=["reasoning.encrypted_content"])
        await host.then("And?")
        assert joined(log) == snapshot(
            [
                "0 created in_progress",
                "1 in_progress",
                "2 item+ 0 reasoning",
                "3 part+ 0.0 summary_text",
                '4 summary 0.0 "I need"',
                '5 summary= 0.0 "I need"',
                "6 part- 0.0 summary_text",
                "7 part+ 0.1 summary_text",
                '8 summary 0.1 "the weather."',
                '9 summary= 0.1 "the weather."',
                "10 part- 0.1 summary_text",
                "11 item- 0 reasoning completed",
                "12 item+ 1 message",
                "13 part+ 1.0 output_text",
                '14 text 1.0 "Hm."',
                '15 text= 1.0 "Hm."',
                "16 part- 1.0 output_text",
                "17 item- 1 message completed",
                "18 completed usage=10/5",
            ]
        )
        assert host.sent_of("reasoning") == [
            {
                "type": "reasoning",
                "id": "rs_1_0",
                "summary": [
                    {"type": "summary_text", "text": "I need"},
                    {"type": "summary_text", "text": "the weather."},
                ],
                "encrypted_content": "sealed",
            }
        ]
        assert log.items[0]["encrypted_content"] == seal("sealed", "rs_1_0")


async def test_raw_reasoning_is_told_apart_from_its_summary() -> None:
    async with hosting() as host:
        host.script(turn(Reasoning(("Sum.",), raw=("Raw a", "Raw b"), encrypted="sealed"), Text("Hm.")), Text("Next."))
        log = await host.ask("Hi")
        await host.then("And?")
        [sent] = host.sent_of("reasoning")
    assert [part["text"] for part in log.items[0]["summary"]] == ["Sum."]
    assert [part["text"] for part in log.items[0]["content"]] == ["Raw a", "Raw b"]
    assert (sent["summary"], sent["content"]) == (log.items[0]["summary"], log.items[0]["content"])


async def test_citations_are_told_as_they_come_in_every_done_event_and_in_the_stored_response() -> None:
    expected = [
        {"type": "url_citation", "url": "https://example.com/a", "title": "A", "start_index": 0, "end_index": 3},
        {"type": "file_citation", "file_id": "file_1", "filename": "a.txt", "index": 4},
        {
            **{"type": "container_file_citation", "container_id": "cntr_1", "file_id": "file_2", "filename": "b.csv"},
            **{"start_index": 5, "end_index": 9},
        },
    ]
    async with hosting() as host:
        host.script(Text("See this and that.", annotations=CITATIONS), Text("Next."))
        log = await host.ask("Hi")
        stored = await host.stored()
        await host.then("And?")
        sent = host.sent[1]["content"][0]
    assert [event["annotation"] for event in log.of_type("response.output_text.annotation.added")] == expected
    assert log.of_type("response.content_part.done")[0]["part"]["annotations"] == expected
    assert log.items[0]["content"][0]["annotations"] == expected
    assert log.response["output"][0]["content"][0]["annotations"] == expected
    assert stored["output"][0]["content"][0]["annotations"] == expected
    assert sent["annotations"] == expected


@pytest.mark.parametrize("previews", [0, 2])
async def test_an_image_comes_with_its_previews(previews: int) -> None:
    async with hosting() as host:
        host.script(turn(ImageGeneration(PIXEL, (PIXEL,) * previews), Text("Drawn.")), Text("Next."))
        log = await host.ask("Draw!")
        stored = await host.stored()
        await host.then("And?")
        assert host.asked == ["user: Draw!", "assistant: Drawn.", "user: And?"]
    shown = log.of_type("response.image_generation_call.partial_image")
    assert [(event["partial_image_index"], event["partial_image_b64"]) for event in shown] == [
        (n, PIXEL) for n in range(previews)
    ]
    assert log.items[0]["result"] == stored["output"][0]["result"] == PIXEL


async def test_a_search_of_the_web_shows_its_query_and_sources() -> None:
    async with hosting() as host:
        host.script(turn(WebSearch("news", ("https://example.com",)), Text("Found.")))
        log = await host.ask("Hi")
    assert log.items[0]["action"] == {
        "type": "search",
        "query": "news",
        "queries": ["news"],
        "sources": [{"type": "url", "url": "https://example.com"}],
    }


async def test_a_search_in_files_shows_its_queries() -> None:
    async with hosting() as host:
        host.script(turn(FileSearch(("news", "more news")), Text("Found.")))
        log = await host.ask("Hi")
    assert log.items[0]["queries"] == ["news", "more news"]


async def test_code_streams_as_the_model_writes_it_and_ends_with_its_outputs() -> None:
    async with hosting() as host:
        host.script(turn(CodeInterpreter("print(1)", "1"), Text("Ran.")))
        log = await host.ask("Hi")
    assert "".join(event["delta"] for event in log.of_type("response.code_interpreter_call_code.delta")) == "print(1)"
    assert (log.items[0]["code"], log.items[0]["container_id"]) == ("print(1)", "cntr_1")
    assert log.items[0]["outputs"] == [{"type": "logs", "logs": "1"}]


async def test_a_hosted_mcp_call_goes_back_as_the_service_knows_it() -> None:
    async with hosting() as host:
        host.script(turn(McpCall("docs", "find", {"q": "x"}, output="found"), Text("Done.")), Text("Next."))
        await host.ask("Hi")
        await host.then("And?")
        assert host.sent_of("mcp_call") == [
            {
                **{"type": "mcp_call", "id": "mcp_1_0", "server_label": "docs", "name": "find"},
                **{"arguments": '{"q": "x"}', "output": "found"},
            }
        ]


async def test_a_hosted_mcp_call_that_failed_says_so_to_the_caller_and_to_the_next_turns_model() -> None:
    async with hosting() as host:
        host.script(turn(McpCall("docs", "find", {"q": "x"}, error="no such page"), Text("Sorry.")), Text("Next."))
        log = await host.ask("Hi")
        await host.then("And?")
        [sent] = host.sent_of("mcp_call")
    assert (log.items[0]["status"], log.items[0]["error"]["message"]) == ("failed", "no such page")
    assert "no such page" in sent["output"]


@pytest.mark.parametrize("stream", [True, False])
async def test_two_messages_of_one_answer_are_two_items_whether_they_stream_or_not(stream: bool) -> None:
    async with hosting() as host:
        host.script(turn(Text("One."), Text("Two.")))
        if stream:
            await host.ask("Hi")
        else:
            host.last = (await host.api.responses.create(model="any", input="Hi")).to_dict()
        output = (await host.stored())["output"]
    assert [item["content"][0]["text"] for item in output] == ["One.", "Two."]


async def test_a_hosted_approval_request_is_one_item() -> None:
    async with hosting() as host:
        host.script(McpApprovalRequest("docs", "delete", {"id": 1}))
        log = await host.ask("Hi")
    assert outline(log) == ["0 mcp_approval_request docs delete", "completed usage=10/5"]
    assert log.items[0]["arguments"] == '{"id": 1}'
