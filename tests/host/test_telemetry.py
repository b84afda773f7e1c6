"""What telemetry tells of a turn: its span, its measures, its lines in the log; and nothing of what was said."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hostedagent.observability import logging as telemetry
from hostedagent.observability.metrics import Instruments
from hostedagent.testing import Gate, ScriptedAgent
from tests.host.world import begun, hosting, stream
from tests.patience import PATIENCE
from tests.stores import CHOSEN

SECRET = "secret-4711"
USAGE = Content.from_usage({"input_token_count": 7, "output_token_count": 3, "total_token_count": 10})
LENGTH = AgentResponseUpdate(contents=[], finish_reason="length")
STORE = "hostedagent.store.duration"


class Exported(InMemorySpanExporter):
    """Keeps spans, and says when the first one has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.has_one = asyncio.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.has_one.set()
        return super().export(spans)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    """The spans of the host, without touching the process's provider."""
    exporter, provider = Exported(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("hostedagent.engine.tracing.TRACER", provider.get_tracer("test"))
    return exporter


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """The measures of the host, without touching the process's provider."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("hostedagent.observability.metrics.INSTRUMENTS", Instruments(provider.get_meter("test")))
    yield reader
    provider.shutdown()


def points(reader: InMemoryMetricReader, name: str) -> list[tuple[dict[str, Any], float]]:
    """The attributes and the value, or the count, of each series of an instrument; reads what came since the start."""
    data = reader.get_metrics_data()
    found: list[Any] = []
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            found += [point for metric in scope.metrics if metric.name == name for point in metric.data.data_points]
    return [(dict(row.attributes), row.count if hasattr(row, "count") else row.value) for row in found]


def only(exported: Exported) -> ReadableSpan:
    (span,) = exported.get_finished_spans()
    return span


async def test_a_turn_is_one_server_span_with_what_the_conventions_ask(exported: Exported) -> None:
    async with hosting(ScriptedAgent(["Sunny.", USAGE], name="weather")) as client:
        log = await stream(client, conversation="conv_1")

    span = only(exported)
    attributes = dict(span.attributes or {})
    assert (span.name, span.kind, span.status.status_code) == (
        "invoke_agent weather",
        trace.SpanKind.SERVER,
        trace.StatusCode.UNSET,
    )
    assert attributes.pop("microsoft.session.id", "some") != ""
    assert attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "microsoft.agent_framework",
        "gen_ai.response.id": log.response["id"],
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.agent.name": "weather",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "hostedagent.door": "responses",
        "hostedagent.outcome": "completed",
    }


@pytest.mark.parametrize(
    ("steps", "ending", "status"),
    [
        ([LENGTH], {"hostedagent.outcome": "incomplete", "hostedagent.outcome.reason": "max_output_tokens"}, "UNSET"),
        ([RuntimeError(SECRET)], {"hostedagent.outcome": "failed", "error.type": "server_error"}, "ERROR"),
    ],
)
async def test_the_end_of_a_turn_is_on_its_span_and_counted(
    steps: Any, ending: dict[str, str], status: str, exported: Exported, reader: InMemoryMetricReader
) -> None:
    async with hosting(ScriptedAgent([f"said {SECRET}", *steps])) as client:
        await client.post("/responses", json={"input": f"asked {SECRET}", "stream": True})

    span = only(exported)
    assert ending.items() <= dict(span.attributes or {}).items()
    assert (span.status.status_code.name, span.status.description) == (status, None)
    assert SECRET not in span.to_json()
    counted = ending | {"hostedagent.door": "responses"}
    assert points(reader, "hostedagent.turns") == [(counted, 1)]
    assert points(reader, "hostedagent.turn.duration") == [(counted, 1)]


async def test_a_cancelled_turn_is_no_error(exported: Exported, reader: InMemoryMetricReader) -> None:
    gate = Gate()

    async with hosting(ScriptedAgent(["Sun", gate])) as client:
        response_id = await begun(client, gate)
        await client.post(f"/responses/{response_id}/cancel")
        async with asyncio.timeout(PATIENCE):
            await exported.has_one.wait()

    ending = {"hostedagent.outcome": "cancelled", "hostedagent.outcome.reason": "client"}
    span = only(exported)
    assert ending.items() <= dict(span.attributes or {}).items()
    assert span.status.status_code == trace.StatusCode.UNSET
    assert points(reader, "hostedagent.turns") == [(ending | {"hostedagent.door": "responses"}, 1)]


async def test_a_turn_continues_the_trace_of_its_caller(exported: Exported) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"

    async with hosting(ScriptedAgent(["ok"])) as client:
        await client.post("/responses", json={"input": "hi"}, headers={"traceparent": parent})

    span = only(exported)
    assert span.context is not None and span.parent is not None
    assert (f"{span.context.trace_id:x}", f"{span.parent.span_id:x}") == ("a" * 32, "b" * 16)


class Watching(ScriptedAgent):
    """Notes the current span while it is made, and while it runs."""

    seen: list[int]

    async def _play(self, number: int) -> AsyncIterator[AgentResponseUpdate]:
        self.seen.append(trace.get_current_span().get_span_context().span_id)
        async for update in super()._play(number):
            self.seen.append(trace.get_current_span().get_span_context().span_id)
            yield update


async def test_the_span_is_current_in_factory_and_run_and_nowhere_else(exported: Exported) -> None:
    seen: list[int] = []

    def factory() -> ScriptedAgent:
        seen.append(trace.get_current_span().get_span_context().span_id)
        agent = Watching(["a", "b"])
        agent.seen = seen
        return agent

    async with hosting(factory) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            async for _ in events:
                assert not trace.get_current_span().get_span_context().is_valid
        await client.post("/responses", json={"input": "hi"})

    ids = [span.context.span_id for span in exported.get_finished_spans() if span.context is not None]
    assert len(set(ids)) == 2
    assert seen == [ids[0]] * 4 + [ids[1]] * 4


async def test_two_turns_at_the_same_time_keep_their_spans_apart(exported: Exported) -> None:
    gates = [Gate(), Gate()]

    async with hosting(ScriptedAgent(["a", gates[0]], ["b", gates[1]])) as client:
        first = asyncio.create_task(stream(client))
        await gates[0].reached()
        second = asyncio.create_task(stream(client))
        await gates[1].reached()
        for gate in gates:
            gate.open()
        logs = await asyncio.gather(first, second)

    spans = {dict(span.attributes or {})["gen_ai.response.id"]: span for span in exported.get_finished_spans()}
    assert set(spans) == {log.response["id"] for log in logs}
    assert [span.parent for span in spans.values()] == [None, None]


async def test_store_calls_are_timed_by_store_and_operation(reader: InMemoryMetricReader) -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        await stream(client, conversation="conv_1")

    calls = {(row["hostedagent.store"], row["hostedagent.store.operation"]) for row, _ in points(reader, STORE)}
    assert {("responses", "create"), ("responses", "update"), ("state", "put")} <= calls


async def test_a_store_call_that_failed_says_with_what(
    reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Any, *_: Any, **__: Any) -> None:
        raise OSError(SECRET)

    monkeypatch.setattr("hostedagent.stores.responses.StoredResponses.replacing", fail)
    monkeypatch.setattr("azure.ai.agentserver.responses.FoundryStorageProvider.update_response", fail)
    async with hosting(ScriptedAgent(["ok"])) as client:
        await stream(client)

    failed = [row for row, _ in points(reader, STORE) if "error.type" in row]
    kind = "StoreUnavailable" if CHOSEN.kind == "foundry" else "OSError"
    expected = {"hostedagent.store": "responses", "hostedagent.store.operation": "update", "error.type": kind}
    assert expected in failed


async def test_a_content_that_no_item_tells_of_is_counted(reader: InMemoryMetricReader) -> None:
    contents = [Content("something_new"), Content.from_hosted_vector_store("vs_1")]  # pyright: ignore[reportArgumentType]

    async with hosting(ScriptedAgent(["ok", *contents])) as client:
        await stream(client)

    counted = points(reader, "hostedagent.contents.left_out")
    assert sorted((row["hostedagent.content.type"], count) for row, count in counted) == [
        ("hosted_vector_store", 1),
        ("something_new", 1),
    ]


@pytest.mark.parametrize("fields", [{"stream": True}, {}, {"background": True}, {"store": False}])
async def test_the_log_says_which_turn_it_is_about(
    fields: Any, exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.configure_logging()

    async with hosting(ScriptedAgent(["Sun", Content("something_new"), RuntimeError()])) as client:  # pyright: ignore[reportArgumentType]
        reply = await client.post("/responses", json={"input": "hi", **fields})
        response_id = reply.log().response["id"] if "stream" in fields else reply.json()["id"]
        async with asyncio.timeout(PATIENCE):
            await exported.has_one.wait()

    own = [record for record in caplog.records if record.name.startswith("hostedagent.")]
    assert {record.name for record in own} >= {"hostedagent.engine.settlement", "hostedagent.protocol.stream.builder"}
    assert {getattr(record, "response_id", None) for record in own} == {response_id}
    assert all(not hasattr(record, "response_id") for record in caplog.records if record not in own)


def test_a_line_of_the_log_ends_with_its_turn() -> None:
    telemetry.configure_logging()
    formatter = telemetry.Lines("%(levelname)s %(message)s")
    plain = logging.LogRecord("hostedagent.engine.turn", logging.INFO, "", 1, "Done", (), None)
    named = logging.LogRecord("hostedagent.engine.turn", logging.INFO, "", 1, "Done", (), None)
    named.__dict__.update(response_id="caresp_1", session_id="s1")

    assert formatter.format(plain) == "INFO Done"
    assert formatter.format(named) == "INFO Done [response_id=caresp_1 session_id=s1]"


NESTED = f"""
import asyncio, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from agent_framework import Agent, tool
from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient, serve

@tool
def get_weather(city: str) -> str:
    "Look it up."
    return "{SECRET}"

async def main():
    agent = Agent(OfflineChatClient(), name="weather", tools=[get_weather])
    async with serve(AgentHost(agent).app) as client:
        for fields in ({{}}, {{"stream": True}}, {{"background": True, "stream": True}}):
            await client.post("/responses", json={{"input": "What is the weather in Paris? {SECRET}", **fields}})

asyncio.run(main())
spans = exporter.get_finished_spans()
names = {{span.context.span_id: f"{{span.kind.name}} {{span.name}}" for span in spans}}
rows = [(names[span.context.span_id], names.get(span.parent.span_id) if span.parent else None) for span in spans]
print(json.dumps(rows))
print(*(span.to_json() for span in spans))
"""


def run(script: str, folder: Path, **environment: str) -> str:
    """What a script prints that is run in a process of its own."""
    names = ("PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=folder, env=kept | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_spans_of_agent_framework_are_below_that_of_the_turn(tmp_path: Path) -> None:
    first, _, whole = run(NESTED, tmp_path).partition("\n")
    rows = [tuple(row) for row in json.loads(first)]

    assert rows.count(("SERVER invoke_agent weather", None)) == 3
    assert rows.count(("INTERNAL invoke_agent weather", "SERVER invoke_agent weather")) == 3
    assert {parent for name, parent in rows if " chat " in name} == {"INTERNAL invoke_agent weather"}
    assert {parent for name, parent in rows if " execute_tool " in name} == {"INTERNAL invoke_agent weather"}
    assert SECRET not in whole


LATE = """
import asyncio, json, os, sys
from agent_framework import Agent
from agent_framework.observability import OBSERVABILITY_SETTINGS, disable_instrumentation
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient, serve

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
if "disabled" in sys.argv:
    disable_instrumentation()

def seen():
    return [OBSERVABILITY_SETTINGS.enable_instrumentation, os.environ.get("AGENTSERVER_FLUSH_MODE")]

async def main():
    told = [seen()]
    async with serve(AgentHost(Agent(OfflineChatClient(), name="late")).app) as client:
        await client.post("/responses", json={"input": "hi"})
        told.append(seen())
        if "meter" in sys.argv:
            metrics.set_meter_provider(MeterProvider())
        elif "nobody" not in sys.argv:
            trace.set_tracer_provider(provider)
        await client.post("/responses", json={"input": "hi", "stream": True})
        told.append(seen())
    told.append(seen())
    told.append(sorted({f"{span.kind.name} {span.name}" for span in exporter.get_finished_spans()}))
    print(json.dumps(told))

asyncio.run(main())
"""


ON, OFF = [True, None], [False, "sync"]
TURN = "SERVER invoke_agent late"
INNER = ["INTERNAL chat offline-1", "INTERNAL invoke_agent late"]


@pytest.mark.parametrize(
    ("arguments", "environment", "seen"),
    [
        ([], {}, [ON, OFF, ON, ON, [*INNER, TURN]]),
        (["meter"], {}, [ON, OFF, ON, ON, []]),
        (["nobody"], {}, [ON, OFF, OFF, ON, []]),
        (["disabled"], {}, [[False, None], OFF, [False, None], [False, None], [TURN]]),
        (
            [],
            {"ENABLE_INSTRUMENTATION": "false", "AGENTSERVER_FLUSH_MODE": "async"},
            [[False, "async"], [False, "async"], [False, "async"], [False, "async"], [TURN]],
        ),
    ],
    ids=["traces", "measures", "nobody, and the host stops", "the application wants none", "the environment says it"],
)
def test_what_nobody_receives_is_left_out_until_somebody_does(
    arguments: list[str], environment: dict[str, str], seen: list[Any], tmp_path: Path
) -> None:
    assert json.loads(run(f"import sys; sys.argv += {arguments}\n{LATE}", tmp_path, **environment)) == seen
