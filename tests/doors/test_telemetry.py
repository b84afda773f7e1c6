"""Spans and metrics name the door of a turn, and its span continues the caller's trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate
from opentelemetry import baggage
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hostedagent import AgentGroup, AgentHost
from hostedagent.doors import AgUi, Invocations
from hostedagent.testing import ScriptedAgent, serve
from tests.doors.front_end import FrontEnd
from tests.doors.test_contract import Letters
from tests.host.test_telemetry import points, reader

__all__ = ["reader"]

TRACE = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "shop=north"}


@pytest.fixture(params=["agentserver", "starlette"])
def driver(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("hostedagent.engine.tracing.TRACER", provider.get_tracer("test"))
    return exporter


async def test_spans_and_metrics_name_the_door(
    driver: Any, spans: InMemorySpanExporter, reader: InMemoryMetricReader
) -> None:
    agent = ScriptedAgent(*(["ok"] for _ in range(4)))
    host = AgentHost(agent, doors=[Invocations(), AgUi(), Letters()], driver=driver)
    async with serve(host.app) as http:
        await http.post("/responses", json={"input": "hi"})
        await http.post("/invocations", json={"input": "hi"})
        await FrontEnd(http).run("hi")
        await http.post("/letters", json={"text": "hi"})

    doors = ["responses", "invocations", "ag_ui", "letters"]
    assert [dict(span.attributes or {})["hostedagent.door"] for span in spans.get_finished_spans()] == doors
    counted = {str(attributes["hostedagent.door"]): value for attributes, value in points(reader, "hostedagent.turns")}
    assert counted == dict.fromkeys(doors, 1)


class Noting(ScriptedAgent):
    """Notes the caller's baggage."""

    async def _play(self, number: int) -> AsyncIterator[AgentResponseUpdate]:
        self.noted = baggage.get_baggage("shop")
        async for update in super()._play(number):
            yield update


@pytest.mark.parametrize(("path", "body"), [("/responses", {"input": "hi"}), ("/invocations", {"input": "hi"})])
@pytest.mark.parametrize("options", [{}, {"stream": True}, {"background": True}], ids=["whole", "stream", "background"])
async def test_a_turn_continues_the_trace_of_its_caller(
    options: dict[str, Any], path: str, body: dict[str, Any], driver: Any, spans: InMemorySpanExporter
) -> None:
    agent = Noting(["ok"])
    async with serve(AgentHost(agent, doors=[Invocations()], driver=driver).app) as http:
        await http.post(path, json={**body, **options}, headers=TRACE)

    (span,) = spans.get_finished_spans()
    assert span.context is not None and span.parent is not None
    assert (f"{span.context.trace_id:x}", f"{span.parent.span_id:x}") == ("a" * 32, "b" * 16)
    assert agent.noted == "north"


async def test_a_turn_of_a_group_continues_the_trace_of_its_caller(spans: InMemorySpanExporter) -> None:
    async with serve(AgentGroup({"one": ScriptedAgent(["ok"])}).app) as http:
        await http.post("/responses", json={"input": "hi"}, headers=TRACE)

    (span,) = spans.get_finished_spans()
    assert span.context is not None and f"{span.context.trace_id:x}" == "a" * 32
