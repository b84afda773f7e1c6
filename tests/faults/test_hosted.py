"""`hostedagent run` as the platform runs it: a process of its own, hosted by the emulator, that may end at any time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import openai
import pytest
from openai.types.responses import Response

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from tests.samples.server import served


@asynccontextmanager
async def hosted(emulator: Emulator) -> AsyncGenerator[str]:
    """The URL of samples/hello in a process whose storage is the emulator's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.environment.items():
            patch.setenv(name, value)
        process = served("samples/hello/agent.py")
        # The emulator runs on this loop: it must go on while the process starts and ends.
        url = await asyncio.to_thread(process.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


async def ask(url: str, user: str, text: str, **link: Any) -> Response:
    """One turn of a real client, with the identity that the platform adds."""
    identity = {USER_ID_HEADER: user, CALL_ID_HEADER: call_id_for(user)}
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", default_headers=identity) as client:
        return await cast("Any", client.responses.create)(input=text, **link)


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_a_conversation_survives_the_process_on_foundry(by: str) -> None:
    assert "FOUNDRY_HOSTING_ENVIRONMENT" not in os.environ
    link: dict[str, Any] = {"conversation": "conv_1"} if by == "conversation" else {}
    said: list[str] = []

    async with Emulator(anonymous="refuse") as emulator:
        for text in ("My name is Ada.", "What is the weather in Oslo?", "What is my name?"):
            async with hosted(emulator) as url:
                turn = await ask(url, "ann", text, **link)
                said.append(turn.output_text)
                if by != "conversation":
                    link = {"previous_response_id": turn.id}
        users = {entry.user for entry in emulator.log if entry.route.startswith("responses.")}

    assert said == ["Nice to meet you, Ada.", "get_weather says: snow, -3 degrees", "Your name is Ada."]
    assert users == {"ann"}


async def test_a_hosted_process_serves_nobody_without_an_identity() -> None:
    async with Emulator(anonymous="refuse") as emulator, hosted(emulator) as url, httpx.AsyncClient() as client:
        reply = await client.post(f"{url}/responses", json={"input": "hi"})

    assert reply.status_code == 401
    assert reply.json()["error"]["code"]
    assert "responses.create" not in emulator.log.routes
