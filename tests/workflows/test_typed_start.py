"""Workflows whose start executor takes a text or a value of its own are fed from the input."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pytest
from agent_framework import Executor, Message, RunContext, Workflow, WorkflowBuilder, WorkflowContext, handler, workflow
from pydantic import BaseModel, Field

from hostedagent import AgentHost, ConfigurationError
from hostedagent.agents.workflow_start import read_start
from hostedagent.errors import InvalidRequest
from hostedagent.testing import InProcessClient
from tests.host.world import assert_refusal, hosting, stream


@dataclass
class Point:
    x: int
    y: int = 0


class Trip(BaseModel):
    start: Point
    people: int = Field(ge=1)


Out = WorkflowContext[Any, str]


class TakesText(Executor):
    @handler
    async def start(self, value: str, ctx: Out) -> None:
        await ctx.yield_output(f"text {value}")


class TakesMessage(Executor):
    @handler
    async def start(self, value: Message, ctx: Out) -> None:
        await ctx.yield_output(f"message {value.text}")


class TakesPoint(Executor):
    @handler
    async def start(self, value: Point, ctx: Out) -> None:
        await ctx.yield_output(f"point {value.x} {value.y}")


class TakesTrip(Executor):
    @handler
    async def start(self, value: Trip, ctx: Out) -> None:
        await ctx.yield_output(f"trip from {value.start.x} for {value.people}")


class TakesNumbers(Executor):
    @handler
    async def start(self, value: list[int], ctx: Out) -> None:
        await ctx.yield_output(f"sum {sum(value)}")


class TakesEither(Executor):
    @handler
    async def trip(self, value: Trip, ctx: Out) -> None:
        await ctx.yield_output(f"trip {value.people}")

    @handler
    async def point(self, value: Point, ctx: Out) -> None:
        await ctx.yield_output(f"point {value.x}")


class Route(TypedDict):
    start: Point
    note: NotRequired[str | None]


class TakesRoute(Executor):
    @handler
    async def start(self, value: Route, ctx: Out) -> None:
        await ctx.yield_output("not reached")


@dataclass
class Parcel:
    item: str
    note: str | None = "none"
    label: Message | None = None
    route: Route | None = None


class TakesParcel(Executor):
    @handler
    async def start(self, value: Parcel, ctx: Out) -> None:
        label = value.label.text if value.label is not None else None
        await ctx.yield_output(f"{value.item} {value.note} {label} {value.route}")


class TakesPerhaps(Executor):
    @handler
    async def start(self, value: Point | None, ctx: Out) -> None:
        await ctx.yield_output("none" if value is None else f"point {value.x}")


def built(kind: type[Executor]) -> Callable[[], Workflow]:
    def build() -> Workflow:
        return WorkflowBuilder(name="typed", start_executor=kind(id="start")).build()

    return build


def text(response: dict[str, Any]) -> str:
    return response["output"][-1]["content"][0]["text"]


async def respond(http: InProcessClient, given: Any, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/responses", json={"input": given, **fields})
    assert reply.status == 200, reply.text
    assert reply.json()["status"] == "completed", reply.text
    return reply.json()


def test_what_is_no_text_in_a_message_does_not_start_a_workflow() -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png"}
    given = {"type": "message", "role": "user", "content": [image, {"type": "input_text", "text": "hi"}]}

    assert read_start(str, [given]) == "hi"
    with pytest.raises(InvalidRequest, match="the input has no text"):
        read_start(str, [{**given, "content": [image]}])


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (TakesText, "hello", "text hello"),
        (TakesText, '{"x": 1}', 'text {"x": 1}'),
        (TakesMessage, "hello", "message hello"),
        (TakesPoint, '{"x": 1}', "point 1 0"),
        (TakesPoint, '{"x": 1, "y": 2}', "point 1 2"),
        (TakesTrip, '{"start": {"x": 5}, "people": 2}', "trip from 5 for 2"),
        (TakesNumbers, "[1, 2, 3]", "sum 6"),
        (TakesEither, '{"x": 7}', "point 7"),
        (TakesEither, '{"start": {"x": 5}, "people": 2}', "trip 2"),
        (TakesPerhaps, '{"x": 7}', "point 7"),
        (TakesParcel, '{"item": "lamp"}', "lamp none None None"),
        (TakesParcel, '{"item": "lamp", "note": null, "label": null, "route": null}', "lamp None None None"),
        (
            TakesParcel,
            '{"item": "lamp", "label": "fragile", "route": {"start": {"x": 5}, "note": null}}',
            "lamp none fragile {'start': Point(x=5, y=0), 'note': None}",
        ),
    ],
)
async def test_the_input_becomes_what_the_start_executor_takes(kind: type[Executor], given: str, said: str) -> None:
    async with hosting(built(kind)) as http:
        first = await respond(http, given)
        again = await respond(http, given, previous_response_id=first["id"])
        items = await respond(http, [{"role": "user", "content": [{"type": "input_text", "text": given}]}])

    assert [text(row) for row in (first, again, items)] == [said] * 3


@pytest.mark.parametrize(
    ("kind", "given", "param"),
    [
        (TakesPoint, '{"y": 2}', "input[0].content.x"),
        (TakesPoint, "one", "input[0].content"),
        (TakesTrip, '{"start": {"x": "far"}, "people": 1}', "input[0].content.start.x"),
        (TakesTrip, '{"start": {"x": 5}, "people": 0}', "input[0].content.people"),
        (TakesNumbers, '[1, "two"]', "input[0].content[1]"),
        (TakesPerhaps, "null", "input[0].content"),
        (TakesParcel, '{"item": null}', "input[0].content.item"),
        (TakesParcel, '{"item": "lamp", "route": {"note": null}}', "input[0].content.route.start"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_with_the_field_and_the_schema(
    kind: type[Executor], given: str, param: str
) -> None:
    async with hosting(built(kind)) as http:
        error = assert_refusal(await http.post("/responses", json={"input": given}), 400)

    assert error["param"] == param
    assert "JSON of this schema: {" in error["message"]


async def test_a_factory_that_does_not_say_what_it_builds_fails_the_turn_with_the_field() -> None:
    async with hosting(lambda: built(TakesPoint)()) as http:
        log = await stream(http, input='{"y": 2}')

    assert (log.status, log.response["error"]["code"]) == ("failed", "invalid_prompt")
    assert "input[0].content.x" in log.response["error"]["message"]


async def test_a_functional_workflow_takes_a_typed_dict() -> None:
    @workflow
    async def travelling(route: Route) -> str:
        return f"from {route['start'].x}, {route.get('note', 'no note')}"

    served: Any = travelling
    async with hosting(served) as http:
        assert text(await respond(http, '{"start": {"x": 5}, "note": null}')) == "from 5, None"
        assert text(await respond(http, '{"start": {"x": 5}}')) == "from 5, no note"
        error = assert_refusal(await http.post("/responses", json={"input": '{"note": "x"}'}), 400)

    assert error["param"] == "input[0].content.start"


def test_a_graph_that_starts_with_a_typed_dict_is_refused_when_the_host_is_built() -> None:
    with pytest.raises(ConfigurationError, match="starts with Route: use a dataclass"):
        AgentHost(built(TakesRoute))


async def takes_nothing() -> str:
    return "nothing"


async def takes_the_context(ctx: RunContext) -> str:
    return "nothing"


async def takes_anything(*values: str, **named: str) -> str:
    return "nothing"


def runs_at_once(message: str) -> str:
    return message


def returns_what_to_await(message: str) -> Awaitable[str]:
    return again(message)


async def again(message: str) -> str:
    return message


def workflow_of(function: Any) -> Any:
    return workflow(function)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (takes_nothing, "takes no input"),
        (takes_the_context, "takes no input"),
        (takes_anything, "takes no input"),
        (runs_at_once, "is not async"),
    ],
)
def test_a_function_that_no_input_can_start_is_refused_with_what_to_write(function: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{function.__name__} {words}.*Write async def"):
        AgentHost(workflow_of(function))


async def test_a_function_that_returns_what_to_await_is_a_workflow() -> None:
    async with hosting(workflow_of(returns_what_to_await)) as http:
        assert text(await respond(http, "hi")) == "hi"


def unnamed() -> Workflow:
    return WorkflowBuilder(start_executor=TakesText(id="start")).build()


def unnamed_builder() -> WorkflowBuilder:
    return WorkflowBuilder(start_executor=TakesText(id="start"))


@pytest.mark.parametrize("factory", [unnamed, unnamed_builder])
def test_an_unnamed_workflow_is_refused_when_the_host_is_built(factory: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r'WorkflowBuilder\(name="\.\.\."'):
        AgentHost(factory)
