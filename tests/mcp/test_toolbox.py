"""The toolbox of a Foundry project: its address, the agent's token, the user's call id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.identity import DefaultAzureCredential

from hostedagent import ConfigurationError, FoundryToolbox
from hostedagent.mcp.toolbox import BearerTokens, toolbox_url
from hostedagent.platform import DATA_SCOPE
from tests.mcp.server import Served, serving
from tests.mcp.turns import call, outputs, text, world

PATH = "/api/projects/demo/toolboxes/research/mcp"
CALL_ID = "x-agent-foundry-call-id"


class Credential:
    """Gives a new token each time, good for `seconds`."""

    def __init__(self, seconds: float = 3600) -> None:
        self.seconds = seconds
        self.scopes: list[str] = []
        self.error: Exception | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        await asyncio.sleep(0)
        self.scopes += scopes
        if self.error is not None:
            raise self.error
        return AccessToken(f"token-{len(self.scopes)}", int(time.time() + self.seconds))

    async def close(self) -> None: ...

    async def __aenter__(self) -> Credential:
        return self

    async def __aexit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None: ...


@pytest.fixture
async def foundry() -> AsyncGenerator[Served]:
    async with serving(path=PATH) as served:
        yield served


def toolbox(foundry: Served, credential: Credential | None = None) -> FoundryToolbox:
    endpoint = foundry.url.partition("/toolboxes")[0]
    return FoundryToolbox("research", project_endpoint=endpoint, credential=credential or Credential(), patience=60)


async def test_each_request_carries_the_agents_token_and_the_call_id_of_its_turn(foundry: Served) -> None:
    credential = Credential()
    script: list[Any] = [call("forecast", city="Rome"), "one", call("forecast", city="Oslo"), "two"]

    async with world(toolbox(foundry, credential=credential), script=script) as it:
        assert outputs(await it.turn("ann")) == ["rain in Rome"]
        assert outputs(await it.turn("bob")) == ["rain in Oslo"]

    assert {one.headers.get("authorization") for one in foundry.seen} == {"Bearer token-1"}
    assert credential.scopes == [DATA_SCOPE] == ["https://ai.azure.com/.default"]
    assert {one.query for one in foundry.seen} == {"api-version=v1"}
    found = {(one.session, one.headers[CALL_ID]) for one in foundry.seen if one.session is not None}
    assert sorted(call_id for _, call_id in found) == ["call-of-ann", "call-of-bob"]
    assert foundry.ended() == foundry.sessions()


async def test_a_turn_in_the_background_has_the_call_id_of_its_request(foundry: Served) -> None:
    async with world(toolbox(foundry), script=[call("forecast", city="Rome"), "done"]) as it:
        response = await it.turn("ann", background=True)
        while response["status"] in ("queued", "in_progress"):
            headers = {"x-agent-user-id": "ann", CALL_ID: "call-of-a-poll"}
            response = (await it.client.get(f"/responses/{response['id']}", headers=headers)).json()

    assert outputs(response) == ["rain in Rome"]
    assert {one.headers.get(CALL_ID) for one in foundry.seen} == {"call-of-ann"}


async def test_a_listing_is_kept_for_its_user_although_each_request_has_another_call_id(foundry: Served) -> None:
    listed: list[str | None] = []

    def listing(headers: Mapping[str, str]) -> None:
        listed.append(headers.get(CALL_ID))

    foundry.refuse["tools/list"] = listing
    async with world(toolbox(foundry), script=["one", "two", "three"]) as it:
        for user, call_id in (("ann", "first"), ("ann", "second"), ("bob", "third")):
            headers = {"x-agent-user-id": user, CALL_ID: call_id}
            await it.client.post("/responses", json={"input": "hi"}, headers=headers)

    assert listed == ["first", "third"]
    assert all("forecast" in one.tool_names for one in it.model.calls)


async def test_without_a_token_the_turn_goes_on_without_the_tools(
    foundry: Served, caplog: pytest.LogCaptureFixture
) -> None:
    credential = Credential()
    credential.error = ValueError("s3cret")
    async with world(toolbox(foundry, credential=credential)) as it:
        assert text(await it.turn()) == "hello"

    assert foundry.seen == []
    assert "'research' is left out of a turn: ValueError" in caplog.text and "s3cret" not in caplog.text


async def test_those_who_need_a_token_at_once_ask_for_one() -> None:
    credential = Credential()
    tokens = BearerTokens(credential, "scope")
    assert await asyncio.gather(*(tokens.get() for _ in range(5))) == ["token-1"] * 5


@pytest.mark.parametrize(("seconds", "expected"), [(3600, "token-1"), (200, "token-2")])
async def test_a_token_that_ends_soon_is_replaced(seconds: float, expected: str) -> None:
    credential = Credential(seconds)
    tokens = BearerTokens(credential, "scope")
    await tokens.get()
    assert await tokens.get() == expected


@pytest.mark.parametrize(("seconds", "is_good"), [(200, True), (-1, False)])
async def test_a_token_is_used_to_its_end_when_no_new_one_comes(seconds: float, is_good: bool) -> None:
    credential = Credential(seconds)
    tokens = BearerTokens(credential, "scope")
    await tokens.get()
    credential.error = OSError("no network")
    if is_good:
        assert await tokens.get() == "token-1"
    else:
        with pytest.raises(OSError):
            await tokens.get()


async def test_without_a_credential_the_default_one_is_opened_for_a_token_and_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []

    class Default(Credential):
        async def __aenter__(self) -> Credential:
            opened.append("opened")
            return self

        async def __aexit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
            opened.append("closed")

    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", Default)
    tokens = BearerTokens(None, "scope")
    assert [await tokens.get() for _ in range(2)] == ["token-1"] * 2
    assert opened == ["opened", "closed"]


PROJECT = "https://contoso.services.ai.azure.com/api/projects/demo"


@pytest.mark.parametrize(
    ("version", "endpoint", "url"),
    [
        (None, PROJECT, f"{PROJECT}/toolboxes/research/mcp?api-version=v1"),
        (None, f"{PROJECT}/", f"{PROJECT}/toolboxes/research/mcp?api-version=v1"),
        ("3", PROJECT, f"{PROJECT}/toolboxes/research/versions/3/mcp?api-version=v1"),
        ("a/b", PROJECT, f"{PROJECT}/toolboxes/research/versions/a%2Fb/mcp?api-version=v1"),
    ],
)
def test_the_address_is_made_of_the_projects_endpoint(version: str | None, endpoint: str, url: str) -> None:
    assert toolbox_url("research", version, endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    ["", "contoso", "http://contoso.services.ai.azure.com/api/projects/demo", f"{PROJECT}?x=1", "https://[x"],
)
def test_an_endpoint_that_is_missing_or_would_show_the_token_is_refused(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_PROJECT_ENDPOINT", raising=False)
    with pytest.raises(ConfigurationError, match="FOUNDRY_PROJECT_ENDPOINT"):
        FoundryToolbox("research", project_endpoint=endpoint or None)


def test_the_endpoint_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_PROJECT_ENDPOINT", PROJECT)
    FoundryToolbox("research")


def test_a_credential_that_would_block_the_loop_is_refused() -> None:
    credential: Any = DefaultAzureCredential()
    with pytest.raises(ConfigurationError, match=r"azure\.identity\.aio"):
        FoundryToolbox("research", project_endpoint=PROJECT, credential=credential)
