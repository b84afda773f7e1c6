"""Searches: of the web, of files, of something else, and for tools."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from tests.protocol.content.harness import project, read
from tests.protocol.content.wire import again, emit, lines, log

SEARCH: dict[str, Any] = {"type": "search", "query": "q", "queries": ["q"], "sources": [{"type": "url", "url": "u"}]}
FOUND: dict[str, Any] = {"file_id": "f1", "filename": "a.md", "score": 0.5, "text": "t", "attributes": {"k": "v"}}
NOTHING: dict[str, Any] = {}


def call(name: str = "web_search", arguments: Any = None, call_id: str = "ws_p", **fields: Any) -> Content:
    return Content.from_search_tool_call(call_id, tool_name=name, arguments=arguments, **fields)


def result(name: str = "web_search", found: Any = None, call_id: str = "ws_p", **fields: Any) -> Content:
    return Content.from_search_tool_result(call_id, tool_name=name, result=found, **fields)


def web(**fields: Any) -> dict[str, Any]:
    return {"type": "web_search_call", "status": "completed", "action": SEARCH, **fields}


def files(**fields: Any) -> dict[str, Any]:
    return {"type": "file_search_call", "status": "completed", "queries": ["q"], "results": [FOUND], **fields}


TOOLS: list[Any] = [{"type": "function", "name": "f", "parameters": {}, "strict": False}]
TOOL_CALL: dict[str, Any] = {
    "type": "tool_search_call",
    "call_id": "tc",
    "execution": "server",
    "status": "completed",
    "arguments": {"paths": ["x"]},
}
TOOL_OUTPUT: dict[str, Any] = {
    "type": "tool_search_output",
    "call_id": "tc",
    "execution": "client",
    "status": "completed",
    "tools": TOOLS,
}

READ = [
    pytest.param(web(), ["web_search"] * 2, SEARCH, {"action": SEARCH}, id="web"),
    pytest.param(files(), ["file_search"] * 2, {"queries": ["q"]}, {"results": [FOUND]}, id="files"),
    pytest.param(
        files(results=None), ["file_search"] * 2, {"queries": ["q"]}, {"results": None}, id="results are not told"
    ),
    pytest.param(TOOL_CALL, ["tool_search"], {"paths": ["x"]}, None, id="a search for tools"),
]


@pytest.mark.parametrize(("wire", "names", "arguments", "found"), READ)
def test_an_item_is_read_as_call_and_result(wire: dict[str, Any], names: list[str], arguments: Any, found: Any) -> None:
    contents = read({**wire, "id": "ws_1"})
    assert [c.tool_name for c in contents] == names
    assert contents[0].arguments == arguments
    assert [c.result for c in contents[1:]] == ([] if found is None else [found])


def test_a_search_for_tools_is_never_read_as_a_function_call_without_its_output() -> None:
    types = [c.type for wire in (TOOL_CALL, TOOL_OUTPUT) for c in read({**wire, "id": "ts_1"})]
    assert types == ["search_tool_call", "search_tool_result"]


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ({"type": "web_search_call"}, "id"),
        ({"type": "web_search_call", "id": "w", "action": "search"}, "action"),
        ({"type": "file_search_call", "id": "w", "queries": "q"}, "queries"),
        ({"type": "file_search_call", "id": "w", "queries": [], "results": "r"}, "results"),
        ({"type": "tool_search_output", "id": "w", "tools": "r"}, "tools"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


EMIT = [
    pytest.param([call(), result(found={"action": SEARCH})], web(), id="the result knows the action"),
    pytest.param([call(arguments=SEARCH), result()], web(), id="the call knows the action"),
    pytest.param([result(found={"action": SEARCH})], web(), id="a result without a call"),
    pytest.param([call()], web(action={"type": "search"}), id="a call of which nothing is known"),
    pytest.param([call(arguments="cats")], web(action={"type": "search", "query": "cats"}), id="words"),
    pytest.param([call(arguments='{"query": "q"}')], web(action={"type": "search", "query": "q"}), id="JSON text"),
    pytest.param(
        [call(arguments={"type": "open_page", "url": "u"}), result()],
        web(action={"type": "open_page", "url": "u"}),
        id="a page",
    ),
    pytest.param(
        [call("bing_grounding", {"query": "q"}), result("bing_grounding", [{"url": "u", "title": "t"}])],
        web(action={"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]}),
        id="what was found becomes sources",
    ),
    pytest.param(
        [call("file_search", {"queries": ["q"]}), result("file_search", {"results": [FOUND]})], files(), id="files"
    ),
    pytest.param(
        [
            call("file_search", {"queries": []}),
            result("file_search", {"results": [FOUND]}, raw_representation={"queries": ["q"]}),
        ],
        files(),
        id="only the result knows the queries",
    ),
    pytest.param(
        [call("file_search", {"queries": []}), result("file_search", {"results": None})],
        files(queries=[], results=None),
        id="results are not told",
    ),
    pytest.param(
        [call("azure_ai_search", {"query": "q"}), result("azure_ai_search", "plain words")],
        files(results=[{"text": "plain words"}]),
        id="another search in words",
    ),
    pytest.param(
        [call("azure_ai_search", {"query": "q"}), result("azure_ai_search", {"documents": [1]})],
        files(results=[{"text": '{"documents": [1]}'}]),
        id="another search with an object",
    ),
    pytest.param(
        [call("vault", {"topic": "x"}), result("vault", items=[Content.from_text("a"), Content.from_hosted_file("f")])],
        files(queries=['{"topic": "x"}'], results=[{"text": "a"}, {"file_id": "f"}]),
        id="another search with contents",
    ),
    pytest.param([call(), result(status="failed")], web(action={"type": "search"}, status="failed"), id="failed"),
    pytest.param([call("tool_search", {"paths": ["x"]}, "tc")], TOOL_CALL, id="a search for tools"),
    pytest.param(
        [
            Content.from_function_call(
                "tc",
                "tool_search",
                arguments={"paths": ["x"]},
                additional_properties={"openai": {"item_type": "tool_search_call", "execution": "server"}},
            )
        ],
        TOOL_CALL,
        id="a search for tools as OpenAI's client gives it",
    ),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_a_search_and_what_it_found_are_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


@pytest.mark.parametrize(("name", "kind"), [("web_search", "web_search_call"), ("file_search", "file_search_call")])
def test_a_search_reports_its_steps(name: str, kind: str) -> None:
    assert lines(call(name), result(name)) == [
        f"item+ 0 {kind}",
        f"{kind}.in_progress 0",
        f"{kind}.searching 0",
        f"{kind}.completed 0",
        f"item- 0 {kind} completed",
    ]


def test_searches_side_by_side_keep_their_own_results() -> None:
    projected = project(
        [
            call(arguments={"query": "a"}, call_id="1"),
            call(arguments={"query": "b"}, call_id="2"),
            Content.from_text("x"),
            result(found={"action": {"type": "search", "query": "B"}}, call_id="2"),
            result(call_id="1"),
        ]
    )
    log(projected)
    assert [i["action"]["query"] for i in projected.items[:2]] == ["a", "B"]


def test_a_search_for_tools_and_what_it_found_are_two_items() -> None:
    projected = project([call("tool_search", {}, "tc"), result("tool_search", {"tools": TOOLS}, "tc")])
    log(projected)
    assert [i["type"] for i in projected.items] == ["tool_search_call", "tool_search_output"]


def test_a_repeat_of_a_finished_search_is_dropped() -> None:
    assert len(project([call(), result(), call(), result()]).items) == 1


def test_a_search_that_is_cut_off_is_incomplete() -> None:
    projected = project([call()], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


def test_a_search_of_another_kind_keeps_its_name_in_the_store() -> None:
    (stored,) = project([call("azure_ai_search"), result("azure_ai_search")]).items
    contents = read(stored)
    assert {(c.tool_name, c.call_id) for c in contents} == {("azure_ai_search", "ws_p")}


ROUND_TRIP = [
    web(),
    web(status="failed"),
    web(action={"type": "find_in_page", "url": "u", "pattern": "p"}),
    files(),
    files(results=None),
    files(queries=[]),
    files(results=[]),
    TOOL_CALL,
    TOOL_OUTPUT,
]


@pytest.mark.parametrize("wire", ROUND_TRIP)
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again({**wire, "id": "ws_1"}) == wire


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS: st.SearchStrategy[Any] = st.lists(TEXT.map(lambda text: {"text": text, "filename": "a.md"}))


@given(st.lists(TEXT), st.one_of(st.none(), ROWS))
def test_any_search_in_files_survives_the_round_trip(queries: list[str], results: Any) -> None:
    wire = files(queries=queries, results=results)
    assert again({**wire, "id": "fs_1"}) == wire


@given(st.fixed_dictionaries({"type": st.just("search")}, optional={"query": TEXT, "queries": st.lists(TEXT)}))
def test_any_search_of_the_web_survives_the_round_trip(action: dict[str, Any]) -> None:
    assert again({**web(action=action), "id": "ws_1"}) == web(action=action)
