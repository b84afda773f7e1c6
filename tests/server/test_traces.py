"""The spans that the page shows: bounded, by response, and with their prompts only where nothing exports them."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from hostedagent.server.playground import traces
from hostedagent.server.playground.traces import TraceRecorder


def turn(tracer: trace.Tracer, response_id: str, calls: int = 1) -> None:
    attributes = {"gen_ai.response.id": response_id}
    with tracer.start_as_current_span("invoke_agent", kind=trace.SpanKind.SERVER, attributes=attributes):
        for n in range(calls):
            with tracer.start_as_current_span(f"chat {n}", attributes={"gen_ai.input.messages": '[{"role": "user"}]'}):
                pass


def recording() -> tuple[TraceRecorder, trace.Tracer]:
    recorder, provider = TraceRecorder(), TracerProvider()
    provider.add_span_processor(recorder)
    return recorder, provider.get_tracer("test")


def test_the_spans_of_a_turn_are_found_by_its_response_in_the_order_in_which_they_began() -> None:
    recorder, tracer = recording()
    turn(tracer, "one", calls=2)
    turn(tracer, "two")

    spans = recorder.spans_of("one")

    assert [span["name"] for span in spans] == ["invoke_agent", "chat 0", "chat 1"]
    assert spans[0]["parent"] is None and {span["parent"] for span in spans[1:]} == {spans[0]["id"]}
    assert spans[0]["start"] == 0 and all(span["ms"] >= 0 for span in spans)
    assert spans[1]["attributes"]["gen_ai.input.messages"] == [{"role": "user"}]
    assert recorder.spans_of("three") == []


def test_only_the_latest_turns_are_kept_and_of_each_a_bounded_number_of_spans() -> None:
    recorder, tracer = recording()
    for n in range(traces.MAX_TRACES + 3):
        turn(tracer, str(n))
    turn(tracer, "long", calls=traces.MAX_SPANS + 5)

    assert [recorder.spans_of(str(n)) for n in range(4)] == [[]] * 4
    assert len(recorder.spans_of("4")) == 2
    assert len(recorder.spans_of("long")) == 1_000
    assert len(recorder.spans_of(str(traces.MAX_TRACES))) == 2


def test_a_failed_call_is_marked() -> None:
    recorder, tracer = recording()
    try:
        with tracer.start_as_current_span(
            "invoke_agent", kind=trace.SpanKind.SERVER, attributes={"gen_ai.response.id": "r"}
        ):
            raise ValueError("no")
    except ValueError:
        pass
    assert [span["failed"] for span in recorder.spans_of("r")] == [True]


def test_a_span_that_runs_is_told_before_it_has_ended() -> None:
    recorder, tracer = recording()
    with tracer.start_as_current_span("turn", kind=trace.SpanKind.SERVER) as span:
        span.set_attribute("gen_ai.response.id", "resp_1")
        with tracer.start_as_current_span("executor.process"):
            assert [(row["name"], row["running"]) for row in recorder.spans_of("resp_1")] == [
                ("turn", True),
                ("executor.process", True),
            ]
    assert [row["running"] for row in recorder.spans_of("resp_1")] == [False, False]
