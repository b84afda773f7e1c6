"""Cold start: what `import hostedagent` and building a host load, write and say. Each in a fresh interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = (
    "agent_framework",
    "aiohttp",
    "azure",
    "httpx",
    "mcp",
    "openai",
    "opentelemetry",
    "pydantic",
    "starlette",
    "yaml",
)

OPTIONAL = (
    "ag_ui",
    "agent_framework_foundry",
    "agent_framework_openai",
    "anthropic",
    "httpx",
    "mcp",
    "openai",
    "pytest",
)

SECRET = "secret-4711"

SERVE = f"""
import asyncio, os
from hostedagent import AgentHost
from hostedagent.testing import ScriptedAgent, serve

async def main():
    agent = ScriptedAgent(["said {SECRET}"], ["said {SECRET}", RuntimeError("{SECRET}")], ["said {SECRET}"])
    async with serve(AgentHost(agent).app) as client:
        body = {{"input": "asked {SECRET}", "metadata": {{"a": "{SECRET}"}}}}
        assert (await client.post("/responses", json=body)).status == 200
        assert (await client.post("/responses", json={{**body, "stream": True}})).status == 200
        assert (await client.post("/responses", json={{**body, "background": True, "stream": True}})).status == 200
        assert (await client.post("/responses", json={{**body, "temperature": "{SECRET}"}})).status == 400
        assert (await client.post("/responses", content=b'{SECRET}')).status == 400

asyncio.run(main())
"""


INHERITED = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "SYSTEMROOT", "VIRTUAL_ENV")


def run(code: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter with an environment of its own."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    env = {**kept, "HOME": str(home), **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=home, check=False)
    assert done.returncode == 0, done.stderr
    return done


def modules_after(code: str, home: Path) -> set[str]:
    done = run(f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))", home)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(names)


def loaded(names: tuple[str, ...], modules: set[str]) -> list[str]:
    return [name for name in names if any(module == name or module.startswith(f"{name}.") for module in modules)]


@pytest.mark.parametrize(
    "code",
    [
        "import hostedagent",
        "import hostedagent.doors",
        "import hostedagent.testing",
        "import hostedagent.testing.plugin",
    ],
)
def test_the_import_loads_nothing_heavy(code: str, tmp_path: Path) -> None:
    before = modules_after("", tmp_path)

    assert loaded(HEAVY, modules_after(code, tmp_path) - before) == []


def test_the_own_driver_serves_without_the_sdk(tmp_path: Path) -> None:
    code = SERVE.replace("AgentHost(agent)", "AgentHost(agent, driver='starlette')")

    assert "driver='starlette'" in code
    assert loaded(("azure", "aiohttp"), modules_after(code, tmp_path)) == []


def test_a_host_loads_no_optional_package(tmp_path: Path) -> None:
    code = (
        "from hostedagent import AgentHost\nfrom hostedagent.testing import ScriptedAgent\nAgentHost(ScriptedAgent())"
    )

    assert loaded(OPTIONAL, modules_after(code, tmp_path)) == []


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
def test_a_host_without_doors_loads_none(driver: str, tmp_path: Path) -> None:
    code = SERVE.replace("AgentHost(agent)", f"AgentHost(agent, driver='{driver}')")

    assert loaded(("ag_ui", "hostedagent.doors"), modules_after(code, tmp_path)) == []


def test_a_door_is_loaded_by_the_processes_that_use_it(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from hostedagent import AgentHost
from hostedagent.doors import Invocations
from hostedagent.testing import ScriptedAgent, serve

def loaded(*names):
    return [name for name in names if f"hostedagent.doors.{name}" in sys.modules]

async def main():
    host = AgentHost(ScriptedAgent(["a"], ["b"]), doors=[Invocations()], driver="starlette")
    async with serve(host.app) as client:
        assert (await client.post("/invocations", json={"input": "hi"})).status == 200
        assert loaded("ag_ui", "chat_completions", "invocations") == ["invocations"]
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert (await client.post("/chat/completions", json=body)).status == 200
        assert loaded("ag_ui", "chat_completions") == ["chat_completions"]

asyncio.run(main())
"""
    run(code, tmp_path)


def test_every_public_name_is_there_and_only_those(tmp_path: Path) -> None:
    code = """
import importlib, importlib.metadata
import hostedagent
assert hostedagent.__version__ == importlib.metadata.version("hostedagent")
for name in hostedagent.__all__:
    assert getattr(hostedagent, name) is getattr(importlib.import_module(hostedagent._HOME[name]), name), name
assert sorted(dir(hostedagent)) == sorted(hostedagent.__all__)
try:
    hostedagent.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    run(code, tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A host that has served good, bad and failing turns: what its process said, and its home."""
    home = tmp_path_factory.mktemp("home")
    return run(SERVE, home), home


def test_building_and_serving_a_host_writes_nothing_at_home(
    served: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    assert list(served[1].rglob("*")) == []


def test_no_log_holds_what_was_said(served: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done = served[0]

    assert SECRET not in done.stdout + done.stderr
    assert "RuntimeError" in done.stderr


def test_the_log_is_plain_lines_on_standard_error(served: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done = served[0]

    assert done.stdout == ""
    assert not [line for line in done.stderr.splitlines() if line.startswith(("{", "}", "["))], done.stderr
    assert "Experimental" not in done.stderr


@pytest.mark.parametrize(("set_to", "expected"), [({}, "false"), ({"value": "true"}, "true")])
def test_content_stays_out_of_telemetry_unless_it_is_switched_on(
    set_to: dict[str, str], expected: str, tmp_path: Path
) -> None:
    variable = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    variables: dict[str, Any] = {variable: set_to["value"]} if set_to else {}

    done = run(f"{SERVE}\nprint(os.environ['{variable}'])", tmp_path, **variables)

    assert done.stdout.strip() == expected
