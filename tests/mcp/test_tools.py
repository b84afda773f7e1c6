"""What a turn has of an MCP server: its tools, what they return, and what is left when it is down, slow or wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest
from agent_framework import Agent, tool
from mcp import StdioServerParameters
from mcp.types import CallToolResult

from hostedagent import ConfigurationError, TurnRequest
from hostedagent.errors import InvalidRequest
from hostedagent.mcp.client import call_tool
from hostedagent.testing import OfflineChatClient
from tests.mcp.server import Served, listening, serving, url_of, weather
from tests.mcp.turns import call, kinds, mcp, outputs, text, world


@pytest.fixture
async def server() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


@tool
def add(first: int, second: int) -> str:
    """Add two numbers."""
    return str(first + second)


@pytest.mark.parametrize("is_legacy", [True, False], ids=["2025", "2026"])
async def test_a_tool_of_the_server_is_called_and_its_answer_goes_to_the_model(server: Served, is_legacy: bool) -> None:
    server.is_legacy = is_legacy

    async with world(mcp("weather", server.url), script=[call("forecast", city="Rome"), "Take a coat."]) as it:
        response = await it.turn()

    assert (response["status"], text(response)) == ("completed", "Take a coat.")
    assert outputs(response) == ["rain in Rome"]
    assert it.model.calls[1].transcript[-1] == "tool: <- rain in Rome"
    assert server.calls() == ["forecast"]
    assert server.ended() == server.sessions()


@pytest.mark.parametrize("given", [weather(), StdioServerParameters(command=sys.executable, args=["-m", "tests.mcp"])])
async def test_a_server_may_be_an_object_of_this_process_or_a_command(given: Any) -> None:
    tools = mcp("weather", given, patience=60)
    async with world(tools, script=[call("forecast", city="Rome"), "done"]) as it:
        assert outputs(await it.turn()) == ["rain in Rome"]


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("table", '{\n  "mm": 3\n}'),
        ("broken", "Error: Error executing tool broken"),
    ],
)
async def test_numbers_and_failures_are_text(server: Served, name: str, output: str) -> None:
    async with world(mcp("weather", server.url), script=[call(name), "done"]) as it:
        response = await it.turn()

    assert outputs(response) == [output]
    assert response["status"] == "completed"


async def test_an_image_that_a_tool_returns_arrives_as_an_image(server: Served) -> None:
    async with world(mcp("weather", server.url), script=[call("chart"), "done"]) as it:
        output = json.loads(outputs(await it.turn())[0])

    assert [part["type"] for part in output] == ["input_text", "input_image"]
    assert output[1]["image_url"] == "data:image/png;base64,iVBORw0KGgo="


async def test_what_the_server_says_of_a_call_that_it_refuses_is_for_the_model(server: Served) -> None:
    server.refuse["tools/call"] = lambda headers: {"code": -32602, "message": "city is not on the map"}

    async with world(mcp("weather", server.url), script=[call("forecast", city="x"), "Where?"]) as it:
        response = await it.turn()

    assert outputs(response) == ["Error: city is not on the map"]
    assert text(response) == "Where?"


async def test_a_turn_that_calls_nothing_does_not_meet_the_server_again(server: Served) -> None:
    async with world(mcp("weather", server.url), script=["one", "two", call("forecast", city="Rome"), "3"]) as it:
        await it.turn()
        so_far = len(server.seen)
        assert text(await it.turn()) == "two"
        assert len(server.seen) == so_far
        assert it.model.calls[1].tool_names == it.model.calls[0].tool_names
        assert outputs(await it.turn()) == ["rain in Rome"]


async def test_only_the_listing_is_read_when_no_tool_is_called(server: Served) -> None:
    async with world(mcp("weather", server.url, list_seconds=0)) as it:
        await it.turn()

    assert "tools/list" in server.methods() and server.calls() == []
    assert server.ended() == server.sessions() != set()


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_server_that_is_down_costs_a_turn_its_tools_and_nothing_else(
    server: Served, is_streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dead = listening()
    gone = url_of(dead) + "/mcp?key=s3cret"
    dead.close()
    providers = (mcp("gone", gone, headers=lambda request: {"x-key": "s3cret"}), mcp("weather", server.url))

    async with world(
        *providers, tools=[add], script=[call("forecast", city="Rome"), call("add", first=1, second=2), "3"]
    ) as it:
        assert (await it.client.get("/readiness")).status == 200
        if is_streamed:
            reply = await it.client.post("/responses", json={"input": "hi", "stream": True})
            response = dict(reply.log().response)
        else:
            response = await it.turn()

    assert (response["status"], outputs(response)) == ("completed", ["rain in Rome", "3"])
    warnings = [row for row in caplog.records if row.name.startswith("hostedagent")]
    assert [row.levelno for row in warnings] == [logging.WARNING]
    assert "'gone' is left out of a turn" in warnings[0].getMessage()
    assert "s3cret" not in caplog.text


async def test_a_server_that_never_answers_is_waited_for_once_and_then_left_alone() -> None:
    bound = listening()  # Connections are taken, and nobody serves them.
    slow = mcp("slow", url_of(bound), patience=0.2, retry_seconds=3600)

    async with world(slow, script=["one", "two"]) as it:
        assert text(await it.turn()) == "one"
        _waiting(bound)
        assert text(await it.turn()) == "two"
        assert _waiting(bound) == 0
    bound.close()


def _waiting(bound: Any) -> int:
    """How many connections wait to be taken; takes them."""
    found = 0
    while True:
        try:
            connection, _ = bound.accept()
        except BlockingIOError:
            return found
        connection.close()
        found += 1


async def test_a_server_that_comes_back_is_found_again(server: Served) -> None:
    server.status = lambda headers: 503
    tools = mcp("weather", server.url, retry_seconds=0)

    async with world(tools, script=["one", "two"]) as it:
        await it.turn()
        server.status = lambda headers: None
        await it.turn()

    assert it.model.calls[0].tool_names == []
    assert "forecast" in it.model.calls[1].tool_names


async def test_a_call_to_a_server_that_went_away_says_so_to_the_model(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        tools = mcp("weather", server.url)
        async with world(tools, script=["one"]) as it:
            await it.turn()

    async with world(tools, script=[call("forecast", city="Rome"), "I can't look."]) as it:
        response = await it.turn()

    assert (response["status"], text(response)) == ("completed", "I can't look.")
    assert "the MCP server 'weather' cannot be reached" in outputs(response)[0]
    assert "A call of the tool 'forecast'" in caplog.text and server.url not in caplog.text


async def test_a_server_that_was_started_anew_is_connected_to_anew(server: Served) -> None:
    forgotten: list[str | None] = []

    def status(headers: Mapping[str, str]) -> int | None:
        return 404 if forgotten and headers.get("mcp-session-id") in forgotten else None

    def restart(messages: Any, options: Any) -> Any:
        forgotten.extend(server.sessions())
        return call("forecast", city="Oslo")

    server.status = status
    async with world(mcp("weather", server.url), script=[call("forecast", city="Rome"), restart, "done"]) as it:
        assert outputs(await it.turn()) == ["rain in Rome", "rain in Oslo"]

    assert len(server.sessions()) == 2


async def test_a_call_that_takes_too_long_is_given_up(server: Served) -> None:
    async with world(mcp("weather", server.url, timeout=0.2), script=[call("wait"), "Too slow."]) as it:
        response = await it.turn()

    assert outputs(response) == ["Error: the MCP server 'weather' did not answer in time."]
    assert text(response) == "Too slow."


async def test_calls_of_one_turn_share_its_connection(server: Served) -> None:
    calls = [[call("forecast", city="Rome"), call("chart"), call("table")], "done"]
    async with world(mcp("weather", server.url), script=calls) as it:
        assert len(outputs(await it.turn())) == 3

    assert len(server.sessions()) == 1


async def test_only_the_allowed_tools_are_offered_under_the_prefix(server: Served) -> None:
    tools = mcp("weather", server.url, allowed_tools=frozenset({"forecast", "chart"}), prefix="sky")
    async with world(tools, script=[call("sky_forecast", city="Rome"), "done"]) as it:
        assert outputs(await it.turn()) == ["rain in Rome"]

    assert it.model.calls[0].tool_names == ["sky_forecast", "sky_chart"]


async def test_names_that_model_services_refuse_are_mended() -> None:
    server = weather()

    @server.tool(name="docs.search", structured_output=False)
    async def search(query: str) -> str:  # pyright: ignore[reportUnusedFunction]
        return f"found {query}"

    async with world(mcp("docs", server), script=[call("docs_search", query="x"), "done"]) as it:
        assert outputs(await it.turn()) == ["found x"]


async def test_a_tool_whose_name_is_taken_is_left_out_and_the_others_stay(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    def forecast() -> str:
        """The agent's own."""
        return "own"

    providers = [mcp(label, server.url) for label in ("one", "two")]
    async with world(*providers, tools=[forecast], script=[call("forecast"), "done"]) as it:
        assert outputs(await it.turn()) == ["own"]

    names = it.model.calls[0].tool_names
    assert sorted(names) == sorted(set(names)) and "chart" in names
    assert "Give the server a prefix" in caplog.text


async def test_a_tool_of_the_caller_may_not_take_the_name_of_one(server: Served) -> None:
    own: dict[str, Any] = {"type": "function", "name": "forecast", "parameters": {"type": "object", "properties": {}}}

    async with world(mcp("weather", server.url)) as it:
        response = await it.turn(tools=[own])

    assert (response["status"], response["error"]["code"]) == ("failed", "invalid_prompt")
    assert "'forecast'" in response["error"]["message"]


@pytest.mark.parametrize("needs", [True, frozenset({"forecast"})])
@pytest.mark.parametrize("approve", [True, False])
async def test_a_tool_that_needs_approval_asks_and_runs_once_when_it_is_given(
    server: Served, needs: bool | frozenset[str], approve: bool
) -> None:
    tools = mcp("weather", server.url, needs_approval=needs)

    async with world(tools, script=[call("forecast", city="Rome"), "done"]) as it:
        asked = await it.turn()
        assert kinds(asked) == ["mcp_approval_request"] and server.calls() == []
        answer = {
            "type": "mcp_approval_response",
            "approval_request_id": asked["output"][0]["id"],
            "approve": approve,
        }
        response = await it.turn(input=[answer], previous_response_id=asked["id"])

    assert text(response) == "done"
    assert server.calls() == (["forecast"] if approve else [])
    assert ("rain in Rome" in outputs(response)) is approve


async def test_a_tool_that_needs_no_approval_runs_beside_those_that_do(server: Served) -> None:
    tools = mcp("weather", server.url, needs_approval=frozenset({"chart"}))
    async with world(tools, script=[call("forecast", city="Rome"), "done"]) as it:
        assert kinds(await it.turn()) == ["mcp_call", "message"]


def _raising(error: Exception) -> Callable[[TurnRequest], dict[str, str]]:
    def headers(request: TurnRequest) -> dict[str, str]:
        raise error

    return headers


async def test_what_the_headers_say_that_the_caller_must_mend_reaches_the_caller(server: Served) -> None:
    tools = mcp("weather", server.url, headers=_raising(InvalidRequest("Send x-client-token.")))
    async with world(tools) as it:
        response = await it.turn()

    assert (response["error"]["code"], response["error"]["message"]) == ("invalid_prompt", "Send x-client-token.")


async def test_headers_that_cannot_be_made_cost_the_turn_the_tools(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(mcp("weather", server.url, headers=_raising(ValueError("s3cret")))) as it:
        assert text(await it.turn()) == "hello"

    assert server.seen == [] and "ValueError" in caplog.text and "s3cret" not in caplog.text


async def test_headers_are_asked_for_again_when_the_server_refuses_them(server: Served) -> None:
    tokens = iter(["old", "new"])

    async def headers(request: TurnRequest) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"authorization": next(tokens)}

    server.status = lambda headers: 401 if headers.get("authorization") == "old" else None
    tools = mcp("weather", server.url, headers=headers)
    async with world(tools, script=[call("whoami"), "done"]) as it:
        assert outputs(await it.turn()) == ["new"]


async def test_outside_a_turn_the_mistake_is_named() -> None:
    agent = Agent(OfflineChatClient(script=["x"]), context_providers=[mcp("weather", weather())])
    with pytest.raises(ConfigurationError, match="in a turn of an AgentHost only"):
        await agent.run("hi")


def test_headers_for_what_is_no_url_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="named by its URL"):
        mcp("weather", weather(), headers=lambda request: {})


def test_a_missing_package_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(ConfigurationError, match="pip install mcp httpx2"):
        mcp("weather", "http://127.0.0.1/mcp")


async def test_data_that_a_tool_gives_without_a_text_reads_as_it_was_written() -> None:
    class Server:
        async def call_tool(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
            return CallToolResult(content=[], structured_content={"Ort": "Zürich"})

    server: Any = Server()

    (content,) = await call_tool(server, "where", {})
    assert content.text == '{"Ort": "Zürich"}'
