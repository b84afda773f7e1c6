"""Bodies that are nearly right: whatever is changed, the answer is a response or a refusal, never a 500."""

import copy
import json
from collections.abc import Iterator
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostedagent.testing import ScriptedAgent
from tests.host.world import assert_refusal, hosting

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
VALID: tuple[dict[str, Any], ...] = (
    {"input": "hi", "model": "m", "stream": False, "store": True, "background": False, "user": "u",
     "metadata": {"a": "b"}},
    {
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Hello", "annotations": []}]},
            CALL,
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "So."}]},
            {"role": "user", "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
            ]},
        ],
        "stream": True,
    },
    {
        "input": "hi",
        "temperature": 1, "top_p": 0.5, "max_output_tokens": 100, "parallel_tool_calls": True, "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "conversation": {"id": "conv_1"}, "service_tier": "auto", "prompt_cache_key": "k",
    },
)  # fmt: skip

Path = tuple[str | int, ...]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["message", "item_reference", "function_call_output", "mcp_approval_response", "user", "", "c1"]),
    st.sampled_from(["data:", "data:image/png;base64,!", "https://", "file:///etc/passwd", "-1", "\x00"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "id", "text", "role", "content", "name", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place of a JSON value below its root."""
    if isinstance(value, dict):
        rows: list[tuple[str | int, Any]] = list(cast("dict[str, Any]", value).items())
    else:
        rows = list(enumerate(cast("list[Any]", value))) if isinstance(value, list) else []
    for key, child in rows:
        yield (*path, key)
        yield from places(child, (*path, key))


@st.composite
def near_misses(draw: st.DrawFn) -> bytes:
    """A valid body with one to three places replaced, dropped or doubled."""
    body: Any = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        where = list(places(body))
        if not where:
            break
        *parents, key = draw(st.sampled_from(where))
        owner: Any = body
        for step in parents:
            owner = owner[step]
        match draw(st.sampled_from(["replace", "drop", "double"])):
            case "replace":
                owner[key] = draw(values)
            case "drop":
                del owner[key]
            case _:
                if isinstance(key, int):
                    owner.append(copy.deepcopy(owner[key]))
                else:
                    owner[f"{key}_2"] = copy.deepcopy(owner[key])
    return json.dumps(body).encode()


async def answer(content: bytes) -> None:
    agent = ScriptedAgent(["ok"])
    async with hosting(agent) as client:
        reply = await client.post("/responses", content=content)
        assert not client.errors, client.errors
    if reply.status != 200:
        assert_refusal(reply)
        assert not agent.calls, "the agent ran although the request was refused"
    elif reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.log().status == "completed"
    else:
        assert reply.json()["status"] in ("completed", "in_progress"), reply.json().get("error")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(near_misses())
async def test_a_body_that_is_nearly_right_is_answered_or_refused(content: bytes) -> None:
    await answer(content)


@settings(max_examples=100)
@given(st.one_of(st.binary(max_size=40), values.map(lambda value: json.dumps(value).encode())))
async def test_a_body_of_any_bytes_is_refused(content: bytes) -> None:
    async with hosting(ScriptedAgent()) as client:
        assert_refusal(await client.post("/responses", content=content))
