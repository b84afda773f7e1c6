"""The document of the routes: what it names is served, and what is served it names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.server.openapi import OPERATIONS, document
from hostedagent.testing import ScriptedAgent, serve

DOCUMENT = Path(__file__).parents[2] / "docs" / "routes.md"
DRIVERS: list[Driver] = ["agentserver", "starlette"]


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    return request.param


async def fetched(driver: Driver, prefix: str = "") -> dict[str, Any]:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver, prefix=prefix).app) as client:
        return (await client.get(f"{prefix}/openapi.json")).json()


@pytest.mark.parametrize("prefix", ["", "/team"])
async def test_every_route_in_the_document_is_served(driver: Driver, prefix: str) -> None:
    found = await fetched(driver, prefix)

    async with serve(AgentHost(ScriptedAgent(*[["x"]] * 9), driver=driver, prefix=prefix).app) as client:
        for path, methods in found["paths"].items():
            for method in methods:
                reply = await client.request(method.upper(), path.replace("{", "x").replace("}", "x"))
                says = reply.text
                assert reply.status != 405 and "is not served by this host" not in says, (method, path, says)
    assert f"{prefix}/responses" in found["paths"] and f"{prefix}/openapi.json" in found["paths"]


async def test_every_route_of_the_host_is_in_the_document(driver: Driver) -> None:
    app = AgentHost(ScriptedAgent(["x"]), driver=driver).app
    paths = (await fetched(driver))["paths"]

    # Routes of a pre-release of the SDK, for the platform alone; the host does not serve them unless it is told to.
    inner = ("/_agent/", "/_before_snapshot", "/_after_restore")
    for route in app.routes:
        if isinstance(route, Route) and not route.path.startswith(inner):
            for method in (route.methods or set()) - {"HEAD"}:
                assert method.lower() in paths.get(route.path_format, {}), (
                    f"add a row for {method} {route.path} to OPERATIONS"
                )


async def test_a_row_describes_a_route_of_a_driver() -> None:
    served = {
        (method.upper(), path)
        for driver in DRIVERS
        for path, methods in (await fetched(driver))["paths"].items()
        for method in methods
    }

    assert served == set(OPERATIONS)


async def test_the_document_of_a_mounted_host_names_its_mount(driver: Driver) -> None:
    inner = AgentHost(ScriptedAgent(["x"]), driver=driver).app
    outer = Starlette(routes=[Mount("/apps/one", app=inner)], lifespan=inner.router.lifespan_context)
    async with serve(outer) as client:
        found = (await client.get("/apps/one/openapi.json")).json()

    assert found["servers"] == [{"url": "/apps/one"}] and "/responses" in found["paths"]
    assert (await fetched(driver))["servers"] == [{"url": "/"}]


async def test_the_document_is_consistent(driver: Driver) -> None:
    found = await fetched(driver)
    operations = [row for methods in found["paths"].values() for row in methods.values()]
    named = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}

    ids = [row["operationId"] for row in operations]
    assert len(ids) == len(set(ids))
    assert set(references(found)) <= named
    for path, methods in found["paths"].items():
        for row in methods.values():
            assert [p["name"] for p in row.get("parameters", []) if p["in"] == "path"] == [
                part.strip("{}") for part in path.split("/") if part.startswith("{")
            ]


def references(document: Any) -> list[str]:
    return re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))


def test_a_route_of_the_application_is_not_in_the_document() -> None:
    async def answer(request: Any) -> Any: ...

    assert document([Route("/survey", answer), Route("/other/responses", answer)], "")["paths"] == {}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_is_in_the_documentation(method: str, path: str) -> None:
    assert f"`{method} {path}`" in DOCUMENT.read_text(encoding="utf-8")


async def test_every_body_and_answer_is_described_by_a_schema_of_the_document(driver: Driver) -> None:
    found = await fetched(driver)
    schemas = found["components"]["schemas"]
    named: set[str] = set()
    for methods in found["paths"].values():
        for operation in methods.values():
            described = [*operation["responses"].values(), operation.get("requestBody", {})]
            for content in (row["content"] for row in described if "content" in row):
                for kind, row in content.items():
                    prefix, _, name = row["schema"].get("$ref", "").rpartition("/")
                    assert prefix == ("#/components/schemas" if kind == "application/json" else ""), row
                    named |= {name} - {""}
    assert "Response" in named and named <= set(schemas)
