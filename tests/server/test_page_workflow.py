"""What the page is told of a workflow."""

from dataclasses import dataclass
from typing import Any, Never

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, workflow

from hostedagent import AgentHost
from hostedagent.server.playground.workflow import describe_workflow


@dataclass
class Order:
    """A typed start."""

    product: str


class Shop(Executor):
    @handler
    async def order(self, order: Order, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(order.product)


class Till(Executor):
    @handler
    async def pay(self, product: str, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.yield_output(product)


def is_dear(product: Any) -> bool:
    return product == "car"


def create_workflow() -> WorkflowBuilder:
    shop, till = Shop(id="shop"), Till(id="till")
    return WorkflowBuilder(name="w", start_executor=shop, output_from=[till]).add_edge(shop, till, condition=is_dear)


def test_the_graph_has_executors_edges_and_the_names_of_conditions() -> None:
    host = AgentHost(create_workflow)
    assert describe_workflow(host.sample_workflow)["graph"] == {
        "nodes": [
            {"id": "shop", "type": "Shop", "is_start": True, "is_output": False},
            {"id": "till", "type": "Till", "is_start": False, "is_output": True},
        ],
        "edges": [{"from": "shop", "to": "till", "label": "is_dear"}],
    }


def test_a_typed_start_is_told_as_a_schema() -> None:
    schema = describe_workflow(AgentHost(create_workflow).sample_workflow)["start"]
    assert list(schema["properties"]) == ["product"]


def test_a_functional_workflow_has_no_graph_and_a_text_has_no_form() -> None:
    @workflow
    async def shout(text: str) -> str:
        return text.upper()

    assert describe_workflow(AgentHost(shout).sample_workflow) == {"graph": None, "start": None}
