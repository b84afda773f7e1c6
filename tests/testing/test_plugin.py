import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import hostedagent.testing
from hostedagent.testing.plugin import ServeAgent

from .bare_host import BareHost, body

pytest_plugins = ["pytester"]


def test_every_export_exists_and_unknown_names_are_attribute_errors() -> None:
    assert all(getattr(hostedagent.testing, name) is not None for name in hostedagent.testing.__all__)
    assert set(dir(hostedagent.testing)) >= set(hostedagent.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(hostedagent.testing, "nothing")  # noqa: B009 - the point is the missing name


def test_the_plugin_loads_nothing_heavy() -> None:
    heavy = ["agent_framework", "azure", "openai", "httpx", "httpx2", "pydantic", "starlette"]
    code = f"""
import sys
import hostedagent.testing.plugin, hostedagent.testing
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_in_process_client_and_the_event_log_need_no_optional_package() -> None:
    code = """
import sys
for name in ("openai", "httpx", "httpx2", "agent_framework", "starlette"):
    sys.modules[name] = None
from hostedagent.testing import EventLog, InProcessClient, serve
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_fixture_serves_the_app_of_the_host_it_made(
    serve_agent: ServeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, dict[str, Any]]] = []

    def fake_host(agent: object, **options: Any) -> SimpleNamespace:
        made.append((agent, options))
        return SimpleNamespace(app=BareHost().app)

    monkeypatch.setattr(hostedagent, "AgentHost", fake_host, raising=False)
    async with serve_agent("agent", name="n") as client:
        assert (await client.post("/responses", json=body(stream=True))).log().text == "Hello"
    assert made == [("agent", {"name": "n"})]


def test_a_users_test_can_serve_an_agent_with_the_fixture(pytester: pytest.Pytester) -> None:
    pytest.importorskip("hostedagent.host", reason="the host is not there yet")
    pytester.makepyfile(
        """
        import asyncio
        from hostedagent.testing import ScriptedAgent

        def test_it(serve_agent):
            async def check():
                async with serve_agent(ScriptedAgent(["Hello"])) as client:
                    reply = await client.post("/responses", json={"model": "m", "input": "hi", "stream": True})
                    assert reply.log().text == "Hello"

            asyncio.run(check())
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
