"""The agent's own tools: how their calls are shown, and that a model reads every form as the same call and output."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content

from hostedagent.options import OwnTools
from hostedagent.protocol.content import INCOMPLETE, ToolRoles
from hostedagent.protocol.content.own_calls import NOT_SENT, function_items
from hostedagent.protocol.transcript.storing import with_own_id
from tests.protocol.content.harness import Projected, project, update
from tests.protocol.content.wire import log

OWN = ToolRoles(own=frozenset({"add"}), caller=frozenset({"ask_user"}))
ARGUMENTS = '{"a": 1}'


def call(arguments: Any = ARGUMENTS, name: str = "add", call_id: str = "c1", **fields: Any) -> Content:
    return Content.from_function_call(call_id, name, arguments=arguments, **fields)


def result(value: Any = "3", call_id: str = "c1", **fields: Any) -> Any:
    return update(Content.from_function_result(call_id, result=value, **fields), role="tool")


def made(call_id: str) -> Content:
    return call(call_id=call_id)


def shown(*steps: Any, form: OwnTools = "mcp_call", roles: ToolRoles = OWN, **fields: Any) -> Projected:
    projected = project(steps, own_tools=form, tools=roles, **fields)
    log(projected)
    return projected


def read(projected: Projected) -> list[tuple[Any, ...]]:
    rows = function_items(projected.items)
    return [
        (row["type"], row["call_id"], row.get("arguments") or row.get("output")) for row in rows if "call_id" in row
    ]


def order(items: Any) -> list[str]:
    rows = [row for row in function_items(items) if "call_id" in row]
    return [f"{row['type'].removeprefix('function_').removeprefix('call_')} {row['call_id']}" for row in rows]


def test_a_call_streams_its_arguments_and_ends_with_its_result() -> None:
    projected = shown(call('{"a"'), call(": 1}"), result(), Content.from_text("Three."))
    assert projected.types[:7] == [
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
        "output_item.done",
    ]
    item = projected.items[0]
    assert (item["type"], item["server_label"], item["name"], item["arguments"], item["output"], item["status"]) == (
        "mcp_call", "agent", "add", ARGUMENTS, "3", "completed",
    )  # fmt: skip
    assert projected.items[1]["type"] == "message"


def test_the_arguments_are_done_when_the_model_call_has_finished() -> None:
    projected = shown(update(call(), finish_reason="tool_calls"))
    assert projected.types.index("mcp_call_arguments.done") == 3
    assert projected.items[0]["status"] == "incomplete" and projected.items[0]["output"] is None


@pytest.mark.parametrize("form", ["mcp_call", "function_call", "hidden"])
def test_every_form_reads_as_the_same_call_and_output(form: OwnTools) -> None:
    projected = shown(call(), result(), Content.from_text("Three."), form=form)
    assert read(projected) == [("function_call", "c1", ARGUMENTS), ("function_call_output", "c1", "3")]


@pytest.mark.parametrize("form", ["mcp_call", "hidden"])
def test_calls_that_were_made_together_are_read_together(form: OwnTools) -> None:
    projected = shown(call(call_id="c1"), call(call_id="c2"), result(call_id="c1"), result(call_id="c2"), form=form)
    assert order(projected.items) == ["call c1", "call c2", "output c1", "output c2"]


def test_hidden_calls_are_read_in_the_order_in_which_they_were_made_whichever_ends_first() -> None:
    results = [result(call_id=call_id) for call_id in ("c2", "c1")]
    projected = shown(call(call_id="c1"), call(call_id="c2"), *results, Content.from_text("Three."), form="hidden")
    assert order(projected.items)[:2] == ["call c1", "call c2"]


@pytest.mark.parametrize("form", ["mcp_call", "function_call", "hidden"])
@pytest.mark.parametrize("names", [("add", "ask_user"), ("ask_user", "add"), ("add", "ask_user", "add")])
def test_an_own_call_beside_the_callers_is_read_where_the_model_made_it(form: OwnTools, names: tuple[str, ...]) -> None:
    calls = [call(name=name, call_id=f"c{n}") for n, name in enumerate(names)]
    results = [result(call_id=f"c{n}") for n, name in enumerate(names) if name == "add"]
    projected = shown(*calls, *results, form=form)
    made = [f"call c{n}" for n in range(len(names))]
    answered = [f"output c{n}" for n, name in enumerate(names) if name == "add"]
    assert order(projected.items) == [*made, *answered]


def test_calls_that_a_client_sends_back_by_their_ids_are_read_together() -> None:
    projected = shown(call(call_id="c1"), call(call_id="c2"), result(call_id="c1"), result(call_id="c2"))
    kept = [{name: value for name, value in item.items() if name != "internal_metadata"} for item in projected.items]
    kinds = [line.partition(" ")[0] for line in order(kept)]
    assert kinds == ["call", "call", "output", "output"]
    stored = [with_own_id(item, "conv_1") for item in kept]
    assert {item["id"] for item in stored}.isdisjoint(item["id"] for item in kept)
    assert [line.partition(" ")[0] for line in order(stored)] == kinds


@pytest.mark.parametrize("form", ["mcp_call", "hidden"])
def test_calls_of_the_next_model_call_are_another_batch(form: OwnTools) -> None:
    rounds = [step for n in (1, 2) for step in (call(call_id=f"c{n}"), result(call_id=f"c{n}"))]
    projected = shown(*rounds, call(name="ask_user", call_id="c3"), form=form)
    assert order(projected.items) == ["call c1", "output c1", "call c2", "output c2", "call c3"]


def test_agents_that_run_at_the_same_time_may_use_the_same_call_id() -> None:
    def step(author: str, value: str | None = None) -> Any:
        if value is None:
            return update(call(id=f"of-{author}"), author_name=author)
        given = Content.from_function_result("c1", result=value)
        given.id = f"of-{author}"
        return update(given, role="tool", author_name=author)

    projected = shown(step("left"), step("right"), step("right", "4"), step("left", "3"))
    assert [(item["agent_reference"]["name"], item["output"]) for item in projected.items] == [
        ("left", "3"),
        ("right", "4"),
    ]


def test_a_result_from_another_author_ends_the_call_once() -> None:
    answer = Content.from_function_result("c1", result="3")
    projected = shown(update(call(), author_name="left"), update(answer, author_name="right"))

    assert projected.types.count("output_item.done") == 1
    assert [(item["output"], item["status"]) for item in projected.items] == [("3", "completed")]


@pytest.mark.parametrize("form", ["mcp_call", "function_call", "hidden"])
def test_a_call_without_arguments_has_an_empty_object_of_them(form: OwnTools) -> None:
    projected = shown(call(None), result(), Content.from_text("Three."), form=form)
    assert read(projected) == [("function_call", "c1", "{}"), ("function_call_output", "c1", "3")]


def test_a_call_that_waits_is_shown_before_consent_is_asked_for_it() -> None:
    consent = Content.from_oauth_consent_request("https://login.example/x")
    projected = project([call(), consent], own_tools="mcp_call", end=INCOMPLETE, consent="item", consent_origins=None)
    assert [item["type"] for item in projected.items] == ["mcp_call", "oauth_consent_request"]
    assert projected.items[0]["status"] == "incomplete"


def test_calls_that_follow_each_other_are_read_one_after_the_other() -> None:
    projected = shown(call(call_id="c1"), result(call_id="c1"), call(call_id="c2"), result(call_id="c2"))
    assert [row[1] for row in read(projected)] == ["c1", "c1", "c2", "c2"]


def test_a_hidden_call_leaves_no_event_and_an_empty_message_where_nothing_follows() -> None:
    projected = shown(call(), result(), form="hidden")
    assert [item["type"] for item in projected.items] == ["message"] and projected.items[0]["content"] == []
    assert "mcp_call" not in " ".join(projected.types)
    added, done = projected.events
    assert (added["item"]["status"], done["item"]["status"]) == ("in_progress", "completed")


def test_the_callers_tools_stay_function_calls() -> None:
    projected = shown(call(name="ask_user"))
    assert [item["type"] for item in projected.items] == ["function_call"]


def test_a_call_of_an_unknown_tool_waits_until_it_is_known_who_runs_it() -> None:
    unknown = ToolRoles()
    assert shown(call(), roles=unknown).items[0]["type"] == "function_call"
    assert shown(call(), result(), roles=unknown).items[0]["type"] == "mcp_call"
    assert shown(call(), roles=unknown, end=INCOMPLETE).items[0]["type"] == "mcp_call"


def test_a_failed_tool_is_a_failed_call_without_the_exception() -> None:
    projected = shown(call(), result("Error: Function failed.", exception="secret"))
    item = projected.items[0]
    assert (item["status"], item["output"], item["error"]["type"]) == ("failed", None, "mcp_tool_execution_error")
    assert "secret" not in str(projected.events)
    assert read(projected)[1] == ("function_call_output", "c1", "Error: Function failed.")


def test_a_rich_result_is_read_back_as_its_parts() -> None:
    picture = Content.from_uri("https://x/y.png", media_type="image/png")
    projected = shown(call(), result([Content.from_text("see"), picture]))
    assert [part["type"] for part in read(projected)[1][2]] == ["input_text", "input_image"]
    assert isinstance(projected.items[0]["output"], str)


def test_a_result_whose_call_an_earlier_turn_made_shows_that_call() -> None:
    projected = shown(result(call_id="c9"), earlier_call=made)
    assert (projected.items[0]["name"], projected.items[0]["arguments"]) == ("add", ARGUMENTS)


def test_a_call_that_was_shown_open_and_later_with_its_result_is_read_once() -> None:
    waiting, answered = shown(call()), shown(result(), earlier_call=made)
    rows = function_items([*waiting.items, *answered.items])
    assert [(row["type"], row["call_id"]) for row in rows] == [("function_call", "c1"), ("function_call_output", "c1")]
    stripped = [
        {k: v for k, v in item.items() if k != "internal_metadata"} for item in [*waiting.items, *answered.items]
    ]
    assert [row["type"] for row in function_items(stripped)] == ["function_call", "function_call_output"]


def test_a_call_that_a_client_sends_back_without_an_id_gets_one_that_stays() -> None:
    item = {"type": "mcp_call", "server_label": "agent", "name": "add", "arguments": "{}", "output": "3"}
    first, second = function_items([item]), function_items([item])
    assert first == second and first[0]["call_id"] == first[1]["call_id"]


@pytest.mark.parametrize("fields", [{}, {"output": None, "error": None}, {"status": "completed", "output": None}])
def test_a_finished_call_whose_result_a_client_drops_is_not_read_as_unanswered(fields: dict[str, Any]) -> None:
    item = {"type": "mcp_call", "server_label": "agent", "name": "add", "arguments": "{}", **fields}
    assert [row.get("output") for row in function_items([item])] == [None, NOT_SENT]


@pytest.mark.parametrize("status", ["in_progress", "calling", "incomplete"])
def test_a_call_that_waits_has_no_result(status: str) -> None:
    item = {"type": "mcp_call", "server_label": "agent", "name": "add", "arguments": "{}", "status": status}
    assert [row["type"] for row in function_items([item])] == ["function_call"]


def test_an_empty_result_is_a_result() -> None:
    item = {"type": "mcp_call", "server_label": "agent", "name": "add", "arguments": "{}", "output": ""}
    assert function_items([item])[1]["output"] == ""
