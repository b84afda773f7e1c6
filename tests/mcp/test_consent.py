"""A server that needs the user's consent: the link goes out, the turn ends, and the next one tries again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from agent_framework import Agent, AgentExecutor, Content, ContextProvider, WorkflowBuilder
from agent_framework.exceptions import ToolExecutionException
from mcp.shared.exceptions import MCPError

from hostedagent import AgentHost, HostOptions, memory_stores
from hostedagent.mcp.consent import consent_ids, consent_requests
from hostedagent.testing import OfflineChatClient, serve
from tests.mcp.server import Refusal, Served, serving
from tests.mcp.turns import ORIGINS, call, kinds, mcp, outputs, text, world

LINK = "https://login.example/consent?code=s3cret"
OTHER = "https://login.example/other"


def listed(*sources: tuple[str, str], code: int = -32006) -> Refusal:
    """What Foundry's toolbox says when some of its sources need consent."""
    errors = [
        {"name": name, "type": "mcp", "error": {"code": "CONSENT_REQUIRED", "message": link}} for name, link in sources
    ]
    count = f"tools/list failed for {len(sources)} tool source(s), succeeded for 0 tool source(s)"
    return {"code": code, "message": f"{count} {json.dumps({'errors': errors})}"}


def elicited(*links: str) -> Refusal:
    """What MCP has for it."""
    rows = [{"mode": "url", "elicitationId": str(n), "url": url, "message": "Sign in."} for n, url in enumerate(links)]
    return {"code": -32042, "message": "URL elicitation required", "data": {"elicitations": rows}}


WAYS = {
    "a list of sources": listed(("mail", LINK)),
    "the link alone": {"code": -32006, "message": LINK},
    "the earlier code": listed(("mail", LINK), code=-32007),
    "an elicitation": elicited(LINK),
}


class Gatekeeper:
    """Refuses a method until the user has agreed."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.has_consent = False

    def __call__(self, headers: Mapping[str, str]) -> Refusal | None:
        return None if self.has_consent else self.refusal


@pytest.fixture
async def server() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


@pytest.mark.parametrize("link", ["response", "conversation"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_needs_consent_asks_for_it_and_the_next_turn_tries_again(
    server: Served, way: str, link: str
) -> None:
    keeper = server.refuse["tools/call"] = Gatekeeper(WAYS[way])
    script = [call("forecast", city="Rome"), call("forecast", city="Rome"), "It rains."]

    async with world(mcp("weather", server.url), script=script) as it:
        fields: dict[str, Any] = {"conversation": "conv_1"} if link == "conversation" else {}
        asked = await it.turn(**fields)
        keeper.has_consent = True
        if link == "response":
            fields = {"previous_response_id": asked["id"]}
        response = await it.turn(input="done", **fields)

    assert (asked["status"], asked["incomplete_details"]) == ("incomplete", {"reason": "consent_required"})
    assert kinds(asked) == ["mcp_call", "oauth_consent_request"]
    assert asked["output"][1]["consent_link"] == LINK
    assert asked["output"][1]["server_label"] == ("mail" if "source" in way or "earlier" in way else "weather")
    assert (response["status"], outputs(response), text(response)) == ("completed", ["rain in Rome"], "It rains.")
    seen = it.model.calls[1].transcript
    assert not any(LINK in line for line in seen)
    assert any("[oauth_consent_request: the user was asked for consent" in line for line in seen)
    assert seen[-1] == "user: done"


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("method", ["initialize", "tools/list"])
async def test_a_server_that_lists_nothing_without_consent_asks_before_the_model_is_called(
    server: Served, method: str, is_streamed: bool
) -> None:
    keeper = server.refuse[method] = Gatekeeper(listed(("mail", LINK)))

    async with world(mcp("box", server.url), script=[call("forecast", city="Rome"), "It rains."]) as it:
        if is_streamed:
            log = (await it.client.post("/responses", json={"input": "hi", "stream": True})).log()
            assert log.events[-1]["type"] == "response.incomplete"
            asked = dict(log.response)
        else:
            asked = await it.turn()
        assert it.model.calls == []
        keeper.has_consent = True
        response = await it.turn(input="done", previous_response_id=asked["id"])

    assert (asked["status"], asked["incomplete_details"]) == ("incomplete", {"reason": "consent_required"})
    assert [(row["type"], row["server_label"], row["consent_link"]) for row in asked["output"]] == [
        ("oauth_consent_request", "mail", LINK)
    ]
    assert (text(response), outputs(response)) == ("It rains.", ["rain in Rome"])
    assert server.ended() == server.sessions()


async def test_of_several_sources_one_is_asked_for_in_a_turn(server: Served) -> None:
    server.refuse["tools/list"] = Gatekeeper(listed(("mail", LINK), ("files", OTHER)))
    async with world(mcp("box", server.url)) as it:
        asked = await it.turn()
        server.refuse["tools/list"] = Gatekeeper(listed(("files", OTHER)))
        again = await it.turn(input="done", previous_response_id=asked["id"])

    assert [row["consent_link"] for row in (*asked["output"], *again["output"])] == [LINK, OTHER]


@pytest.mark.parametrize("method", ["tools/list", "tools/call"])
@pytest.mark.parametrize(
    "unsafe", ["https://evil.example/consent?code=s3cret", "http://login.example/?code=s3cret", "javascript:s3cret()"]
)
async def test_a_link_that_is_not_allowed_is_never_sent(
    server: Served, method: str, unsafe: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse[method] = Gatekeeper(listed(("mail", unsafe)))

    async with world(mcp("box", server.url), script=[call("forecast", city="Rome")]) as it:
        reply = await it.client.post("/responses", json={"input": "hi", "stream": True})

    assert reply.log().events[-1]["type"] == "response.failed"
    assert b"s3cret" not in reply.body and "s3cret" not in caplog.text
    assert "HostOptions.consent_origins" in caplog.text


@pytest.mark.parametrize(
    "message",
    ["", "consent, please", '{"errors": [{"error": {"code": "BROKEN", "message": "s3cret"}}]}', '{"errors": 5}'],
)
async def test_consent_without_a_link_is_said_to_the_model_in_words_of_our_own(server: Served, message: str) -> None:
    server.refuse["tools/call"] = Gatekeeper({"code": -32006, "message": message})

    async with world(mcp("box", server.url), script=[call("forecast", city="Rome"), "Sorry."]) as it:
        response = await it.turn()

    assert outputs(response) == [
        "Error: the MCP server 'box' needs the user's consent, and does not say how to get it."
    ]


@pytest.mark.parametrize("method", ["tools/list", "tools/call"])
@pytest.mark.parametrize("link", ["response", "conversation"])
async def test_an_agent_inside_a_workflow_asks_too_and_the_next_turn_tries_again(
    server: Served, method: str, link: str
) -> None:
    keeper = server.refuse[method] = Gatekeeper(listed(("mail", LINK)))
    tools = mcp("box", server.url)
    says = [call("forecast", city="Rome"), "It rains."]

    def build_workflow() -> WorkflowBuilder:
        agent = Agent(OfflineChatClient(script=says), name="inner", context_providers=[tools])
        return WorkflowBuilder(name="flow", start_executor=AgentExecutor(agent))

    options = HostOptions(consent_origins=ORIGINS, consent="item")
    async with serve(AgentHost(build_workflow, options=options, stores=memory_stores()).app) as client:
        fields: dict[str, Any] = {"conversation": "conv_1"} if link == "conversation" else {}
        asked = (await client.post("/responses", json={"input": "the weather?", **fields})).json()
        keeper.has_consent = True
        if link == "response":
            fields = {"previous_response_id": asked["id"]}
        response = (await client.post("/responses", json={"input": "done", **fields})).json()

    assert (asked["status"], asked["incomplete_details"]) == ("incomplete", {"reason": "consent_required"})
    assert asked["output"][-1]["type"] == "oauth_consent_request"
    assert asked["output"][-1]["consent_link"] == LINK
    assert (response["status"], text(response), outputs(response)) == ("completed", "It rains.", ["rain in Rome"])


async def test_an_agent_inside_a_workflow_passes_on_what_the_models_service_asks() -> None:
    def build_workflow() -> WorkflowBuilder:
        client = OfflineChatClient(script=[Content.from_oauth_consent_request(LINK)])
        return WorkflowBuilder(
            name="flow", start_executor=AgentExecutor(Agent(client, name="inner", middleware=[consent_ids]))
        )

    options = HostOptions(consent_origins=ORIGINS, consent="item")
    async with serve(AgentHost(build_workflow, options=options, stores=memory_stores()).app) as client:
        asked = (await client.post("/responses", json={"input": "hi"})).json()

    assert (asked["status"], asked["output"][0]["consent_link"]) == ("incomplete", LINK)


class Connecting(ContextProvider):
    """Connects before the run, and fails as Agent Framework's own MCP tools do."""

    async def before_run(self, **_: Any) -> None:
        error = MCPError(-32006, LINK)
        raise ToolExecutionException("Failed to create MCP session.", inner_exception=error) from error


async def test_consent_that_agent_framework_reports_as_a_failure_is_asked_for_too() -> None:
    async with world(Connecting("connecting")) as it:
        asked = await it.turn()

    assert (asked["status"], asked["output"][0]["consent_link"]) == ("incomplete", LINK)


def test_an_error_that_means_something_else_asks_for_nothing() -> None:
    for error in (
        ValueError(LINK),
        MCPError(-32603, LINK),
        MCPError(-32042, LINK, {"elicitations": [{"mode": "form"}]}),
    ):
        assert consent_requests(error) == []


def test_consent_is_found_however_deep_it_is_wrapped() -> None:
    inner = ExceptionGroup("tasks", [ValueError("x"), MCPError(-32006, LINK)])
    try:
        try:
            raise inner
        except ExceptionGroup as error:
            raise RuntimeError("could not connect") from error
    except RuntimeError as wrapped:
        (request,) = consent_requests(wrapped, "box")
    assert (request.consent_link, request.additional_properties["server_label"]) == (LINK, "box")
