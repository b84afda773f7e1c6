"""The shape of the kernel, counted: few context variables, the SDK in its two places, one reading of a request."""

import ast
import json
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Literal

import pytest
from agent_framework import Content

from hostedagent import AgentHost
from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.json import decode, decode_strictly
from hostedagent.protocol.types import Item
from hostedagent.testing import ScriptedAgent, serve

SOURCE = Path(__file__).parents[2] / "src" / "hostedagent"
FOLDERS_WITH_SDK = ("server/agentserver/", "stores/foundry/")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def test_a_request_is_known_through_one_context_variable_and_a_binding_of_the_application_through_another() -> None:
    found = [
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ContextVar"
    ]

    assert found == ["conversation/history/foundry_provider.py", "identity.py"]


def test_only_the_driver_of_the_sdk_and_its_stores_import_it() -> None:
    found = [
        name
        for name, tree in modules()
        if not name.startswith(FOLDERS_WITH_SDK)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("azure.ai.agentserver")
    ]

    assert found == []


@contextmanager
def calls_of_ours() -> Generator[list[FrameType]]:
    """The frames of the calls made in the block by functions of ours, as each begins."""
    frames: list[FrameType] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        caller = frame.f_back
        if event == "call" and caller is not None and caller.f_code.co_filename.startswith(str(SOURCE)):
            frames.append(frame)

    sys.setprofile(note)
    try:
        yield frames
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_our_code_parses_a_body_once_and_reads_each_of_its_items_once(
    driver: Literal["agentserver", "starlette"],
) -> None:
    parsers = {decode.__code__, decode_strictly.__code__, json.loads.__code__}
    readers = {codec.read.__code__ for codec in BY_ITEM.values() if isinstance(codec.read, FunctionType)}
    agent = ScriptedAgent([Content.from_function_call("c1", "look_up", arguments="{}")], ["Done."])
    output = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    message = {"type": "message", "role": "user", "content": "and tomorrow?"}

    async with serve(AgentHost(agent, driver=driver).app) as client:
        tool = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
        first = (await client.post("/responses", json={"input": "hi", "tools": [tool]})).json()
        body: Item = {"input": [output, message], "previous_response_id": first["id"]}
        with calls_of_ours() as frames:
            await client.post("/responses", json=body)

    parsed = [first_argument(frame) for frame in frames if frame.f_code in parsers]
    read = Counter(json.dumps(first_argument(frame)) for frame in frames if frame.f_code in readers)
    assert len(agent.calls) == 2
    assert [json.loads(text) for text in parsed].count(body) == 1
    assert read[json.dumps(output)] == read[json.dumps(message)] == 1
    assert set(read.values()) == {1}


def first_argument(frame: FrameType) -> Any:
    return frame.f_locals[frame.f_code.co_varnames[0]]
