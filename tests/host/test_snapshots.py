"""Memory snapshots: what is closed before a process is captured, and opened in each restored copy."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.ai.agentserver.core import AgentServerHost

from hostedagent import AgentGroup, AgentHost, ConfigurationError, Hooks, HostOptions, RestoredSession, memory_stores
from hostedagent.host import Driver
from hostedagent.stores.factory import Stores
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve

KNOWS_SNAPSHOTS = hasattr(AgentServerHost, "before_snapshot_handler")
DRIVERS = [
    "starlette",
    pytest.param("agentserver", marks=pytest.mark.skipif(not KNOWS_SNAPSHOTS, reason="the SDK knows no snapshots")),
]
BEFORE, AFTER = "/_agent/before-snapshot", "/_agent/after-restore"
SESSION = "FOUNDRY_AGENT_SESSION_ID"
SECRET = "secret-4711"


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    return request.param


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SESSION, "TENANT", "REGION"):
        monkeypatch.setenv(name, "captured")
        monkeypatch.delenv(name)


class Recorder:
    """Hooks and stores that remember in which order they were called."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.sessions: list[RestoredSession] = []
        self.error = error

    def stores(self, name: str = "") -> Stores:
        async def aopen() -> None:
            self.calls.append("opened")

        async def aclose() -> None:
            self.calls.append("closed")

        async def check() -> None:
            self.calls.append("checked")

        return Stores.over(memory_stores().state, aopen=aopen, aclose=aclose, check=check)

    async def before(self) -> None:
        self.calls.append("before")
        if self.error is not None:
            raise self.error

    async def after(self, session: RestoredSession) -> None:
        self.calls.append("after")
        self.sessions.append(session)
        if self.error is not None:
            raise self.error

    @property
    def hooks(self) -> Hooks:
        return Hooks(before_snapshot=self.before, after_restore=self.after)


@asynccontextmanager
async def hosted(driver: Driver, recorder: Recorder, agent: Any = None) -> AsyncGenerator[InProcessClient]:
    host = AgentHost(
        agent or ScriptedAgent(["hello"], ["again"]),
        options=HostOptions(allow_snapshots=True),
        stores=recorder.stores(),
        hooks=recorder.hooks,
        driver=driver,
    )
    async with serve(host.app) as client:
        recorder.calls.clear()
        yield client


async def restore(client: InProcessClient, session: str = "s-1", restore_id: str = "r-1", **variables: str) -> int:
    context = {"session_id": session, "restore_id": restore_id, "session_env_overrides": variables}
    return (await client.post(AFTER, json={"session_context": context})).status


async def capture(client: InProcessClient) -> int:
    return (await client.post(BEFORE, json={})).status


async def test_the_stores_are_closed_before_the_capture_and_opened_in_the_copy(driver: Driver) -> None:
    recorder = Recorder()
    async with hosted(driver, recorder) as client:
        assert await capture(client) == 200
        assert recorder.calls == ["before", "closed"]

        assert await restore(client, TENANT="blue") == 200
        assert recorder.calls[2:] == ["opened", "after"]
        assert recorder.sessions == [RestoredSession("s-1", "r-1", {"TENANT": "blue"})]
        assert (os.environ[SESSION], os.environ["TENANT"]) == ("s-1", "blue")

        reply = await client.post("/responses", json={"input": "hi"})
        assert reply.json()["status"] == "completed"


async def test_both_calls_may_be_repeated(driver: Driver) -> None:
    recorder = Recorder()
    async with hosted(driver, recorder) as client:
        assert [await capture(client), await capture(client)] == [200, 200]
        assert [await restore(client), await restore(client)] == [200, 200]
        assert recorder.calls == ["before", "closed", "opened", "after"]


async def test_nothing_opens_the_stores_of_a_process_that_waits_for_its_capture(driver: Driver) -> None:
    recorder = Recorder()
    async with hosted(driver, recorder) as client:
        await capture(client)
        assert (await client.get("/readiness")).status == 200
        assert recorder.calls == ["before", "closed"]


async def test_a_process_that_runs_a_turn_is_not_captured(driver: Driver) -> None:
    recorder, gate = Recorder(), Gate()
    async with hosted(driver, recorder, ScriptedAgent(["one", gate, "two"])) as client:
        turn = asyncio.create_task(client.post("/responses", json={"input": "hi"}))
        await gate.reached()
        assert await capture(client) in (500, 503)
        assert "closed" not in recorder.calls
        gate.open()
        assert (await turn).json()["status"] == "completed"


async def test_a_hook_that_fails_prevents_the_capture_and_its_text_stays_here(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(error=RuntimeError(SECRET))
    async with hosted(driver, recorder) as client:
        reply = await client.post(BEFORE, json={})
        assert reply.status in (500, 503)
        assert SECRET not in reply.text + caplog.text
        assert "closed" not in recorder.calls
        assert (await client.post("/responses", json={"input": "hi"})).json()["status"] == "completed"


async def test_a_restore_that_failed_leaves_the_environment_and_may_be_tried_again(driver: Driver) -> None:
    recorder = Recorder()
    async with hosted(driver, recorder) as client:
        await capture(client)
        recorder.error = RuntimeError(SECRET)
        assert await restore(client, TENANT="blue") in (500, 503)
        assert SESSION not in os.environ and "TENANT" not in os.environ
        recorder.error = None
        assert await restore(client, TENANT="blue") == 200
        assert recorder.calls == ["before", "closed", "opened", "after", "after"]


async def test_a_later_restore_takes_back_what_only_the_earlier_one_set(driver: Driver) -> None:
    os.environ["REGION"] = "north"
    async with hosted(driver, Recorder()) as client:
        await capture(client)
        await restore(client, restore_id="r-1", TENANT="blue", REGION="south")
        await restore(client, restore_id="r-2")
        assert "TENANT" not in os.environ and os.environ["REGION"] == "north"


async def test_a_copy_serves_one_session_only(driver: Driver) -> None:
    async with hosted(driver, Recorder()) as client:
        await capture(client)
        assert await restore(client, session="s-1") == 200
        assert await restore(client, session="s-2", restore_id="r-2") == 409


@pytest.mark.parametrize(
    "context",
    [
        None,
        {"session_id": "s"},
        {"session_id": "", "restore_id": "r"},
        {"session_id": "s", "restore_id": "r", "session_env_overrides": ["A"]},
        {"session_id": "s", "restore_id": "r", "session_env_overrides": {"A": 1}},
        {"session_id": "s", "restore_id": "r", "session_env_overrides": {"A=B": "c"}},
        {"session_id": "s", "restore_id": "r", "session_env_overrides": {SESSION: "another"}},
        {"session_id": "s\0", "restore_id": "r"},
    ],
)
async def test_a_restore_that_says_not_what_it_is_for_is_refused(driver: Driver, context: Any) -> None:
    recorder = Recorder()
    async with hosted(driver, recorder) as client:
        assert (await client.post(AFTER, json={"session_context": context})).status == 400
        assert (await client.post(BEFORE, content=b"{}", headers={"content-type": "text/plain"})).status == 400
        assert recorder.calls == []


async def test_copies_do_not_share_their_random_numbers(driver: Driver) -> None:
    numbers: list[float] = []
    state = random.getstate()
    for restore_id in ("r-1", "r-2"):
        async with hosted(driver, Recorder()) as client:
            await capture(client)
            random.setstate(state)
            await restore(client, restore_id=restore_id)
            numbers.append(random.random())
    assert numbers[0] != numbers[1]


async def test_a_group_is_suspended_as_a_whole_and_its_hooks_are_called_once() -> None:
    recorder = Recorder()
    group = AgentGroup(
        {"one": ScriptedAgent(["1"]), "two": ScriptedAgent(["2"])},
        options=HostOptions(allow_snapshots=True),
        stores=recorder.stores,
        hooks=recorder.hooks,
    )
    async with serve(group.app) as client:
        recorder.calls.clear()
        assert await capture(client) == 200
        assert await restore(client) == 200
        assert recorder.calls == ["before", "closed", "closed", "opened", "opened", "after"]


@pytest.mark.parametrize("path", [BEFORE, AFTER, "/_before_snapshot", "/_after_restore"])
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_nobody_reaches_the_routes_of_a_host_that_does_not_allow_it(driver: Driver, path: str) -> None:
    async with serve(AgentHost(ScriptedAgent(["x"]), driver=driver).app) as client:
        assert (await client.post(path, json={})).status == 404


def test_hooks_that_nobody_would_call_are_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="allow_snapshots=True"):
        AgentHost(ScriptedAgent(["x"]), hooks=Recorder().hooks)


@pytest.mark.skipif(KNOWS_SNAPSHOTS, reason="the SDK knows snapshots")
def test_an_sdk_without_snapshots_is_named_with_its_version() -> None:
    with pytest.raises(ConfigurationError, match=r"azure-ai-agentserver-core 2\.3 or later, and 2\."):
        AgentHost(ScriptedAgent(["x"]), options=HostOptions(allow_snapshots=True))
