"""Computer use: actions, screenshots, and safety checks that only a caller acknowledges."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
from agent_framework import Content, Message
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from tests.clients.upstream import Text, Upstream, responses_client
from tests.protocol.content.harness import project, read
from tests.protocol.content.wire import again, emit, lines

CLICK: dict[str, Any] = {"type": "click", "button": "left", "x": 1, "y": 2}
CHECK: dict[str, Any] = {"id": "sc_1", "code": "malicious", "message": "Careful."}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def call(**fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"call_id": "call_1", "actions": [CLICK], "pending_safety_checks": [CHECK]}
    return {"type": "computer_call", **known, "status": "completed", **fields}


def single(**fields: Any) -> dict[str, Any]:
    row = call(action=CLICK, **fields)
    del row["actions"]
    return row


def output(**fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"call_id": "call_1", "output": {"type": "computer_screenshot", "image_url": PIXEL}}
    return {"type": "computer_call_output", **known, "status": "completed", **fields}


def tool_call(**fields: Any) -> Content:
    known: dict[str, Any] = {"id": "cu_p", "call_id": "call_1", "actions": [CLICK], "pending_safety_checks": [CHECK]}
    return Content("computer_tool_call", **{**known, **fields})


def tool_result(screenshot: Content | None = None, **fields: Any) -> Content:
    return Content("computer_tool_result", call_id="call_1", screenshot=screenshot, **fields)


@pytest.mark.parametrize("wire", [call(), single()], ids=["actions", "one action"])
def test_a_call_is_read_with_its_actions_and_checks(wire: dict[str, Any]) -> None:
    (content,) = read({**wire, "id": "cu_1"})
    assert (content.type, content.id, content.call_id) == ("computer_tool_call", "cu_1", "call_1")
    assert (content.actions, content.pending_safety_checks) == ([CLICK], [CHECK])
    assert content.user_input_request is True


@pytest.mark.parametrize(
    ("screenshot", "expected"),
    [
        ({"image_url": PIXEL}, ("data", PIXEL, None)),
        ({"image_url": "https://x/y.png"}, ("uri", "https://x/y.png", None)),
        ({"file_id": "file_1"}, ("hosted_file", None, "file_1")),
        ({"image_url": "https://x/y.png", "file_id": "file_1"}, ("uri", "https://x/y.png", "file_1")),
    ],
)
def test_a_screenshot_is_read_however_it_comes(screenshot: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (content,) = read(output(output={"type": "computer_screenshot", **screenshot}))
    image = content.screenshot
    assert image is not None
    assert (image.type, image.uri, image.file_id) == expected


def test_only_what_the_caller_acknowledges_is_acknowledged() -> None:
    read({**call(), "id": "cu_1"})
    assert read(output())[0].acknowledged_safety_checks is None
    assert read(output(acknowledged_safety_checks=[CHECK]))[0].acknowledged_safety_checks == [CHECK]


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        (call(), "id"),
        (call(id="c", call_id=None), "call_id"),
        (call(id="c", actions=[]), "actions"),
        (call(id="c", actions=["click"]), "actions[0]"),
        (call(id="c", pending_safety_checks=[{}]), "pending_safety_checks[0].id"),
        (call(id="c", pending_safety_checks="all"), "pending_safety_checks"),
        (output(output="x"), "output"),
        (output(output={"type": "image"}), "output.type"),
        (output(output={"type": "computer_screenshot"}), "output"),
        (output(output={"type": "computer_screenshot", "image_url": "file:///etc/passwd"}), "output.image_url"),
        (output(acknowledged_safety_checks=["sc_1"]), "acknowledged_safety_checks[0]"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


SINGLE: dict[str, Any] = {"openai": {"computer_action_format": "single"}}
IMAGE = Content.from_uri(PIXEL, additional_properties={"openai": {"image_detail": "high"}})
DETAILED: dict[str, Any] = {"type": "computer_screenshot", "image_url": PIXEL, "detail": "high"}

EMIT = [
    pytest.param(tool_call(), call(), id="a call"),
    pytest.param(tool_call(additional_properties=SINGLE), single(), id="a call in the older form"),
    pytest.param(tool_call(pending_safety_checks=None), call(pending_safety_checks=[]), id="nothing to check"),
    pytest.param(tool_result(Content.from_uri(PIXEL)), output(), id="a screenshot"),
    pytest.param(tool_result(IMAGE), output(output=DETAILED), id="a screenshot with its detail"),
    pytest.param(
        tool_result(Content.from_hosted_file("file_1"), acknowledged_safety_checks=[CHECK]),
        output(output={"type": "computer_screenshot", "file_id": "file_1"}, acknowledged_safety_checks=[CHECK]),
        id="an acknowledgement that the agent made",
    ),
    pytest.param(tool_result(), output(output={"type": "computer_screenshot"}), id="no screenshot"),
]


@pytest.mark.parametrize(("content", "expected"), EMIT)
def test_a_call_and_a_result_are_items(content: Content, expected: dict[str, Any]) -> None:
    if "image_url" in expected.get("output", {"image_url": ""}):
        assert emit(content) == expected
    else:  # OpenAI's own type demands a URL, though its documentation does not.
        (stored,) = project([content]).items
        assert {name: stored[name] for name in expected} == expected


def test_a_call_comes_whole() -> None:
    assert lines(tool_call()) == ["item+ 0 computer_call call-1", "item- 0 computer_call call-1 completed"]


@pytest.mark.parametrize("wire", [call(), single(), call(status="incomplete"), output(), output(output=DETAILED)])
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again({**wire, "id": "cu_1"}) == wire


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TYPING: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({"type": st.just("type"), "text": TEXTS})
KEYS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({"type": st.just("keypress"), "keys": st.lists(TEXTS)})
ACTIONS = st.one_of(TYPING, KEYS, st.just({"type": "screenshot"}))
CHECKS = st.fixed_dictionaries({"id": st.text("ab", min_size=1), "message": TEXTS})


@given(st.lists(ACTIONS, min_size=1), st.lists(CHECKS))
def test_any_call_survives_the_round_trip(actions: list[dict[str, Any]], checks: list[dict[str, str]]) -> None:
    wire = call(actions=actions, pending_safety_checks=checks)
    assert again({**wire, "id": "cu_1"}) == wire


async def test_the_provider_gets_back_what_it_made_under_its_own_id() -> None:
    (stored,) = project([tool_call()]).items
    async with Upstream() as upstream:
        upstream.script(Text("ok"))
        messages = [Message("assistant", read(stored)), Message("user", read(output()))]
        await responses_client(upstream).get_response(messages, options={"store": False})
    made, seen = upstream.requests[0]["input"]
    assert made == {**call(), "id": "cu_p"}
    assert {**seen, "status": "completed"} == output()


def test_reading_does_not_warn_that_computer_use_is_experimental() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read({**call(), "id": "cu_1"})
        read(output())


def test_importing_the_families_does_not_warn() -> None:
    code = "import hostedagent.protocol.content"
    ran = subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", code], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
