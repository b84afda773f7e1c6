"""Every refusal, whoever makes it, names the field, has one code for its status, and can be found again in the log."""

from typing import Any

import pytest

from hostedagent.testing import ScriptedAgent
from tests.host.test_bad_input import UNKNOWN, body, user
from tests.host.world import assert_refusal, hosting


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"include": ["no_such.field"]}, "include[0]"),
        ({"input": user({"type": "input_smell"})}, "input[0].content[0].type"),
        ({"reasoning": {"context": "no_such"}}, "reasoning.context"),
        ({"agent_reference": {"type": "agent_reference"}}, "agent_reference.name"),
        (
            {"input": user({"type": "input_image", "image_url": "https://a.example/b.png", "detail": "no_such"})},
            "input[0].content[0].detail",
        ),
    ],
    ids=str,
)
async def test_a_refusal_names_the_place(fields: dict[str, Any], param: str) -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        error = assert_refusal(await client.post("/responses", content=body(**fields)), 400)

    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert "schema validation" not in error["message"]
    assert param.rpartition(".")[2] in error["message"]


@pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True)
@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"temperature": 99}, {}, 400),
        ({"include": ["no_such.field"]}, {}, 400),
        ({"previous_response_id": UNKNOWN}, {}, 404),
        ({}, {"content-encoding": "gzip"}, 415),
    ],
    ids=str,
)
async def test_every_refusal_can_be_found_again(
    fields: dict[str, Any], headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        reply = await client.post("/responses", content=body(**fields), headers={"x-request-id": "r-1", **headers})

    assert assert_refusal(reply, status)["additionalInfo"] == {"request_id": "r-1"}
    assert reply.headers["x-request-id"] == "r-1"
    assert reply.headers["x-platform-server"].startswith(("azure-ai-agentserver", "hostedagent/"))
    assert f"completed with status {status}" in caplog.text and "r-1" in caplog.text


async def test_an_unknown_previous_response_is_named() -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        error = assert_refusal(await client.post("/responses", content=body(previous_response_id=UNKNOWN)), 404)

    assert (error["param"], error["code"]) == ("previous_response_id", "not_found")
