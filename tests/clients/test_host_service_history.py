"""`history="service"`: the model's service keeps the conversation, and nobody learns under which id."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent
from hosted import Hosted, weather
from upstream import SERVER_ERROR, Text, ToolCall, Upstream, responses_client

from hostedagent import AgentHost, HostOptions
from hostedagent.testing import serve

SERVICE = HostOptions(history="service")


@asynccontextmanager
async def hosting() -> AsyncGenerator[Hosted]:
    async with Upstream() as upstream:
        agent: Any = Agent(client=responses_client(upstream), tools=[weather])
        async with serve(AgentHost(agent, options=SERVICE).app) as client, client.openai() as api:
            yield Hosted(upstream, client, api)


def went_up(hosted: Hosted) -> list[tuple[Any, str]]:
    """What each model call continued and brought."""
    return [
        (body.get("previous_response_id"), "".join(part["text"] for item in body["input"] for part in item["content"]))
        for body in hosted.upstream.requests
    ]


async def test_only_what_is_new_goes_up_and_the_services_ids_stay_private() -> None:
    async with hosting() as hosted:
        hosted.script(Text("A"), Text("B"), Text("C"))
        logs = [await hosted.ask("a")]
        first = hosted.last["id"]
        logs += [await hosted.then("b")]
        stored = await hosted.stored()
        logs += [await hosted.ask("c", previous_response_id=first)]

        assert went_up(hosted) == [(None, "a"), ("resp_1", "b"), ("resp_1", "c")]
        assert all("store" not in body or body["store"] is not False for body in hosted.upstream.requests)
        for seen in (*(log.events for log in logs), stored):
            assert "resp_" not in str(seen).replace("caresp_", "")


async def test_a_conversation_continues_at_its_last_turn() -> None:
    async with hosting() as hosted:
        hosted.script(Text("A"), Text("B"), Text("C"))
        for text in "abc":
            await hosted.ask(text, conversation="conv_1")

        assert went_up(hosted) == [(None, "a"), ("resp_1", "b"), ("resp_2", "c")]


async def test_the_rounds_of_a_turn_count_as_one() -> None:
    async with hosting() as hosted:
        hosted.script(ToolCall("weather", {"city": "Paris"}), Text("Sunny."), Text("Bye."))
        await hosted.ask("How is Paris?")
        log = await hosted.then("Bye.")

        assert log.text == "Bye."
        assert [body.get("previous_response_id") for body in hosted.upstream.requests] == [None, "resp_1", "resp_2"]
        assert [item["type"] for item in hosted.upstream.requests[1]["input"]] == ["function_call_output"]


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_after_a_failed_turn_the_service_is_asked_to_continue_what_came_before(by: str) -> None:
    async with hosting() as hosted:
        more: dict[str, Any] = {"conversation": "conv_1"} if by == "conversation" else {}
        hosted.script(Text("A"), SERVER_ERROR, Text("C"))
        await hosted.ask("a", **more)
        first = hosted.last["id"]
        more = more or {"previous_response_id": first}
        failed = await hosted.ask("b", **more)
        await hosted.ask("c", **more)

        assert failed.status == "failed"
        assert went_up(hosted)[-1] == ("resp_1", "c")
