"""Shells and patches: what a provider made goes back to it as it came, whoever kept it in between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_framework import Content, Message
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFunctionShellToolCall
from openai.types.responses.response_output_item import LocalShellCall

from hostedagent.errors import InvalidRequest
from tests.clients.upstream import Text, Upstream, responses_client
from tests.protocol.content.harness import project, read
from tests.protocol.content.wire import again, emit, lines

EXIT: dict[str, Any] = {"type": "exit", "exit_code": 2}
TIMEOUT: dict[str, Any] = {"type": "timeout"}
UPDATE: dict[str, Any] = {"type": "update_file", "path": "a.py", "diff": "@@\n-1\n+2"}


def call(**fields: Any) -> dict[str, Any]:
    action = {"commands": ["ls", "pwd"], "timeout_ms": 10, "max_output_length": None}
    known = {"call_id": "call_1", "action": action, "environment": None, "status": "completed"}
    return {"type": "shell_call", **known, **fields}


def chunk(stdout: str = "out", stderr: str = "err", outcome: dict[str, Any] = EXIT) -> dict[str, Any]:
    return {"stdout": stdout, "stderr": stderr, "outcome": outcome}


def output(*chunks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    known = {"call_id": "call_1", "output": list(chunks) or [chunk()], "max_output_length": None}
    return {"type": "shell_call_output", **known, "status": "completed", **fields}


def local_call(**fields: Any) -> dict[str, Any]:
    action = {"type": "exec", "command": ["ls", "-l"], "env": {"A": "1"}}
    return {"type": "local_shell_call", "call_id": "call_1", "action": action, "status": "completed", **fields}


def printed(**fields: Any) -> Content:
    return Content.from_shell_command_output(**fields)


def test_a_call_is_read_with_its_commands_and_limits() -> None:
    (content,) = read(call(action={"commands": ["ls"], "timeout_ms": 10, "max_output_length": 20}))
    assert (content.type, content.call_id, content.commands) == ("shell_tool_call", "call_1", ["ls"])
    assert (content.timeout_ms, content.max_output_length, content.status) == (10, 20, "completed")


@pytest.mark.parametrize(("outcome", "code", "timed_out"), [(EXIT, 2, False), (TIMEOUT, None, True)])
def test_an_output_is_read_command_by_command(outcome: dict[str, Any], code: int | None, timed_out: bool) -> None:
    (content,) = read(output(chunk(outcome=outcome), max_output_length=9))
    assert (content.type, content.call_id, content.max_output_length) == ("shell_tool_result", "call_1", 9)
    (row,) = content.outputs or ()
    assert (row.stdout, row.stderr, row.exit_code, row.timed_out) == ("out", "err", code, timed_out)


def test_a_local_shell_and_a_patch_are_read_as_functions_that_are_not_called() -> None:
    (shell,) = read(local_call())
    (patch,) = read({"type": "apply_patch_call", "call_id": "call_2", "status": "completed", "operation": UPDATE})
    told = [(c.name, c.call_id, c.informational_only, json.loads(str(c.arguments))) for c in (shell, patch)]
    assert told == [
        ("local_shell", "call_1", True, {"command": ["ls", "-l"]}),
        ("apply_patch", "call_2", True, UPDATE),
    ]


@pytest.mark.parametrize(
    ("wire", "call_id", "result"),
    [
        ({"type": "local_shell_call_output", "id": "call_1", "output": '{"stdout": "x"}'}, "call_1", {"stdout": "x"}),
        ({"type": "local_shell_call_output", "id": "call_1", "output": "x"}, "call_1", "x"),
        (
            {"type": "apply_patch_call_output", "call_id": "c", "status": "failed", "output": "no such file"},
            "c",
            "no such file",
        ),
        ({"type": "apply_patch_call_output", "call_id": "c", "status": "completed"}, "c", "completed"),
    ],
)
def test_their_outputs_are_read_as_what_the_functions_returned(
    wire: dict[str, Any], call_id: str, result: object
) -> None:
    (content,) = read(wire)
    assert (content.type, content.call_id, content.result) == ("function_result", call_id, result)


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        (call(call_id=""), "call_id"),
        (call(action=None), "action"),
        (call(action={"commands": []}), "action.commands"),
        (call(action={"commands": ["ls", 1]}), "action.commands"),
        (call(action={"commands": ["ls"], "timeout_ms": "1"}), "action.timeout_ms"),
        (output(output="text"), "output"),
        (output({"stdout": "a"}), "output[0]"),
        (output(chunk(), chunk(outcome={"type": "exit"})), "output[1].outcome"),
        (output(chunk(outcome={"type": "exit", "exit_code": "0"})), "output[0].outcome.exit_code"),
        (local_call(action={"type": "exec", "command": "ls"}), "action.command"),
        ({"type": "local_shell_call_output", "output": "x"}, "id"),
        ({"type": "apply_patch_call", "call_id": "c", "operation": "x"}, "operation"),
        ({"type": "apply_patch_call_output", "call_id": "c"}, "status"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


CONTAINER: dict[str, Any] = {"type": "container_reference", "container_id": "cntr_1"}
THEIR_CALL: dict[str, Any] = {**call(environment=CONTAINER), "id": "sh_1"}
THEIR_LOCAL_CALL: dict[str, Any] = {**local_call(), "id": "lsh_1"}


def tool_call(raw: object = None, **fields: Any) -> Content:
    return Content.from_shell_tool_call(
        call_id="call_1", commands=["ls", "pwd"], timeout_ms=10, raw_representation=raw, **fields
    )


def tool_result(*outputs: Content) -> Content:
    return Content.from_shell_tool_result(call_id="call_1", outputs=list(outputs))


EMIT = [
    pytest.param(tool_call(), call(), id="a call"),
    pytest.param(tool_call(status="incomplete"), call(status="incomplete"), id="a call that was cut off"),
    pytest.param(
        tool_call(ResponseFunctionShellToolCall.model_validate(THEIR_CALL)),
        call(environment=CONTAINER),
        id="a call in a container",
    ),
    pytest.param(tool_call(LocalShellCall.model_validate(THEIR_LOCAL_CALL)), local_call(), id="a local call"),
    pytest.param(
        tool_result(printed(stdout="out", stderr="err", exit_code=2), printed(timed_out=True)),
        output(chunk(), chunk("", "", TIMEOUT)),
        id="a result",
    ),
    pytest.param(
        tool_result(Content.from_hosted_file("file_1"), Content.from_error(message="secret")),
        output(chunk("[file file_1]", "", {"type": "exit", "exit_code": 0})),
        id="a result with a file",
    ),
]


@pytest.mark.parametrize(("content", "expected"), EMIT)
def test_a_call_and_a_result_are_items(content: Content, expected: dict[str, Any]) -> None:
    assert emit(content) == expected


def test_an_output_without_a_result_is_an_item_that_can_be_read_again() -> None:
    (stored,) = project([printed(stdout="out", exit_code=0)]).items
    (content,) = read(stored)
    assert content.call_id
    assert [row.stdout for row in content.outputs or ()] == ["out"]


def test_a_call_and_its_result_come_whole() -> None:
    assert [line.partition(" [")[0] for line in lines(tool_call(), tool_result(printed(stdout="x", exit_code=0)))] == [
        "item+ 0 shell_call call-1",
        "item- 0 shell_call call-1 completed",
        "item+ 1 shell_call_output call-1",
        "item- 1 shell_call_output call-1",
    ]


ROUND_TRIP = [
    call(),
    call(environment=CONTAINER, status="incomplete"),
    output(),
    output(chunk(outcome=TIMEOUT), chunk("", ""), max_output_length=5),
]


@pytest.mark.parametrize("wire", ROUND_TRIP)
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again(wire) == wire


WORDS = st.text(st.characters(exclude_categories=["Cs"]))
EXITS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.just("exit"), "exit_code": st.integers(0, 255)}
)
OUTCOMES = st.one_of(st.just(TIMEOUT), EXITS)


@given(st.lists(st.builds(chunk, WORDS, WORDS, OUTCOMES), min_size=1), st.one_of(st.none(), st.integers(0, 9)))
def test_any_output_survives_the_round_trip(chunks: list[dict[str, Any]], length: int | None) -> None:
    wire = output(*chunks, max_output_length=length)
    assert again(wire) == wire


@given(st.lists(WORDS, min_size=1), st.one_of(st.none(), st.integers(0, 9)))
def test_any_call_survives_the_round_trip(commands: list[str], limit: int | None) -> None:
    wire = call(action={"commands": commands, "timeout_ms": limit, "max_output_length": limit})
    assert again(wire) == wire


async def sent(*contents: Content) -> list[dict[str, Any]]:
    """What OpenAI's client sends for these contents of the assistant when it must send the whole history."""
    async with Upstream() as upstream:
        upstream.script(Text("ok"))
        messages = [Message("user", ["go"]), Message("assistant", list(contents)), Message("user", ["on"])]
        await responses_client(upstream).get_response(messages, options={"store": False})
    return upstream.requests[0]["input"][1:-1]


async def test_the_provider_gets_back_what_it_made_under_its_own_ids() -> None:
    theirs = ResponseFunctionShellToolCall.model_validate(THEIR_CALL)
    stored = project([tool_call(theirs), tool_result(printed(stdout="x", exit_code=0))]).items
    made, ran = await sent(*[content for row in stored for content in read(row)])
    assert made == theirs.model_dump(mode="json", exclude_none=True)
    assert (ran["type"], ran["call_id"], ran["output"][0]["stdout"]) == ("shell_call_output", "call_1", "x")


async def test_the_provider_gets_back_its_local_shell_calls_too() -> None:
    (stored,) = project([tool_call(LocalShellCall.model_validate(THEIR_LOCAL_CALL))]).items
    answer = {"type": "local_shell_call_output", "id": "call_1", "output": '{"stdout": "x", "exit_code": 0}'}
    made, ran = await sent(*read(stored), *read(answer))
    assert made == THEIR_LOCAL_CALL
    assert (ran["type"], json.loads(ran["output"])) == ("local_shell_call_output", {"stdout": "x", "exit_code": 0})


async def test_the_provider_accepts_what_a_caller_sends_without_ids() -> None:
    made, ran = await sent(*read(call()), *read(output()))
    assert made["id"] != ran["id"]
    assert (made["action"]["commands"], ran["output"]) == (["ls", "pwd"], [chunk()])


@pytest.mark.parametrize("is_list", [False, True], ids=["alone", "in a list"])
def test_outputs_may_be_mappings_of_contents(is_list: bool) -> None:
    mapping = printed(stdout="out", stderr="err", exit_code=2, timed_out=False).to_dict()
    given = Content("shell_tool_result", call_id="call_1", outputs=[mapping] if is_list else mapping)
    assert emit(given)["output"] == [chunk()]
