"""What clients look for beside the Responses routes: aliases, models, a text at the root, and answers to the rest."""

from types import SimpleNamespace
from typing import Any

import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from hostedagent import AgentHost, CallerPolicy, HostOptions
from hostedagent.doors import ChatCompletions
from hostedagent.host import Driver
from hostedagent.testing import ScriptedAgent, serve
from hostedagent.testing.openai import openai_client

ALIASES = (
    "/v1",
    "/openai/v1",
    "/agents/writer/endpoint/protocols/openai",
    "/agents/writer/endpoint/protocols/openai/v1",
    "/api/projects/mine/agents/writer/endpoint/protocols/openai",
)


async def own(request: Request) -> PlainTextResponse:
    return PlainTextResponse("own")


@pytest.fixture(params=["agentserver", "starlette"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return request.param


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("prefix", ["", "/team"])
async def test_the_openai_client_works_below_an_alias(driver: Driver, prefix: str, alias: str) -> None:
    app = AgentHost(ScriptedAgent(["one"], ["two"]), driver=driver, prefix=prefix).app

    async with openai_client(app, base_url=f"http://testserver{prefix}{alias}") as client:
        first = await client.responses.create(model="m", input="hi")
        second = await client.responses.create(model="m", input="on", previous_response_id=first.id)
        found = await client.responses.retrieve(second.id)

    assert (first.output_text, found.output_text) == ("one", "two")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/files", "/v1/responses-archive", "/v2/responses", "/v1x/responses"]
)
async def test_what_is_no_alias_is_not_served(driver: Driver, path: str) -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver).app) as client:
        reply = await client.post(path, json={"input": "hi"})

    assert reply.status == 404
    assert f"POST {path} is not served by this host." in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/completions", "the Responses API"),
        ("/embeddings", "Only the agent is served"),
        ("/moderations", "Only the agent is served"),
        ("/batches/batch_1", "background=true"),
        ("/files", "as file_data"),
        ("/uploads", "as file_data"),
        ("/containers", "as file_data"),
        ("/vector_stores/vs_1/files", "Only the agent is served"),
        ("/assistants", "previous_response_id or conversation"),
        ("/threads/thread_1/runs", "previous_response_id or conversation"),
        ("/images/generations", "Only the agent is served"),
        ("/audio/speech", "Only the agent is served"),
        ("/videos", "Only the agent is served"),
        ("/realtime", "stream=true"),
        ("/messages", "the Responses API"),
    ],
)
async def test_a_route_of_openai_that_is_not_served_says_what_serves_its_purpose(
    driver: Driver, path: str, instead: str
) -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver).app) as client:
        reply = await client.post(f"/v1{path}", json={})

    message = reply.json()["error"]["message"]
    assert reply.status == 404 and "is not served by this host" in message and instead in message


async def test_an_alias_of_a_mounted_host_is_found_below_the_mount(driver: Driver) -> None:
    inner = AgentHost(ScriptedAgent(["hello"]), driver=driver).app
    outer = Starlette(routes=[Mount("/apps/one", app=inner)], lifespan=inner.router.lifespan_context)

    async with serve(outer) as client:
        reply = await client.post("/apps/one/v1/responses", json={"input": "hi"})

    assert reply.json()["output"][0]["content"][0]["text"] == "hello"


async def test_a_route_of_the_application_is_not_taken_for_an_alias(driver: Driver) -> None:
    app = AgentHost(ScriptedAgent(["x"]), driver=driver).app
    app.router.routes.append(Route("/v1/models", own))
    app.router.routes.append(Route("/v1/responses", own, methods=["GET"]))

    async with serve(app) as client:
        answers = [(await client.get(path)).text for path in ("/v1/models", "/v1/responses")]
        created = await client.post("/v1/responses", json={"input": "hi"})

    assert answers == ["own", "own"] and created.status == 200


@pytest.mark.parametrize(
    ("agent", "allow_model", "wanted"),
    [
        (ScriptedAgent(["x"], name="Writer"), False, "Writer"),
        (lambda: ScriptedAgent(["x"]), False, "agent"),
    ],
)
async def test_there_is_one_model(driver: Driver, agent: Any, allow_model: bool, wanted: str) -> None:
    options = HostOptions(caller=CallerPolicy(allow_model=allow_model))
    app = AgentHost(agent, driver=driver, options=options).app

    async with openai_client(app, base_url="http://testserver/v1") as client:
        models = [model.id async for model in client.models.list()]
        model = await client.models.retrieve(wanted)
        with pytest.raises(openai.NotFoundError, match=wanted):
            await client.models.retrieve("gpt-9")

    assert models == [model.id] == [wanted]


async def test_the_model_that_callers_may_choose_is_the_one_of_the_client() -> None:
    from hostedagent.server.models import model_id

    agent = SimpleNamespace(name="Writer", client=SimpleNamespace(model="gpt-5"))

    assert [model_id(agent, allow_model=allowed) for allowed in (False, True)] == ["Writer", "gpt-5"]


@pytest.mark.parametrize("prefix", ["", "/team"])
async def test_the_root_names_the_routes_where_no_page_is_served(driver: Driver, prefix: str) -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver, prefix=prefix).app) as client:
        reply = await client.get(f"{prefix}/")

    assert reply.status == 200 and f"POST {prefix}/responses" in reply.text


@pytest.mark.parametrize("path", ["/", "/models", "/openapi.json"])
async def test_a_route_that_the_application_adds_later_comes_first(driver: Driver, path: str) -> None:
    app = AgentHost(ScriptedAgent(["x"]), driver=driver).app
    app.router.routes.append(Route(path, own))

    async with serve(app) as client:
        assert (await client.get(path)).text == "own"


@pytest.mark.parametrize("base", ["", "/v1", "/agents/writer/endpoint/protocols/openai"])
@pytest.mark.parametrize("prefix", ["", "/team"])
async def test_every_route_may_end_with_a_slash(driver: Driver, prefix: str, base: str) -> None:
    hello = {"input": "hi", "messages": [{"role": "user", "content": "hi"}]}
    agent = ScriptedAgent(["one"], ["two"])
    app = AgentHost(agent, driver=driver, prefix=prefix, doors=[ChatCompletions()]).app

    async with serve(app) as client:
        posted = [
            await client.post(f"{prefix}{base}{path}", json=hello) for path in ("/responses/", "/chat/completions/")
        ]
        got = [
            await client.get(f"{prefix}{base}{path}") for path in ("/models/", "/models/scripted/", "/openapi.json/")
        ]
        conversations = await client.get(f"{prefix}{base}/conversations/")

    assert [reply.status for reply in (*posted, *got)] == [200] * 5
    assert conversations.status == (200 if driver == "starlette" else 404)


async def test_a_route_of_the_application_that_ends_with_a_slash_is_its_own(driver: Driver) -> None:
    app = AgentHost(ScriptedAgent(["x"]), driver=driver).app
    app.router.routes.append(Route("/models/", own))

    async with serve(app) as client:
        assert (await client.get("/models/")).text == "own"
        assert (await client.get("/models")).text != "own"


async def test_a_wrong_method_of_a_route_names_the_right_ones() -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver="starlette").app) as client:
        for path, methods in (("/chat/completions", "POST"), ("/conversations/c1", "GET"), ("/responses", "POST")):
            reply = await client.request("PUT", path)
            message = reply.json()["error"]["message"]
            assert reply.status == 405 and methods in message and "driver" not in message and "doors" not in message


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_wrong_method_is_refused_as_on_every_route(driver: Driver, method: str) -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver).app) as client:
        reply = await client.request(method, "/models")

    assert (reply.status, reply.json()["error"]["code"]) == (405, "method_not_allowed")
