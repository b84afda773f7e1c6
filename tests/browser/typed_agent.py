"""A workflow that starts with a value, not with a text: the page makes a form of it."""

from dataclasses import dataclass
from typing import Literal, Never

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler


@dataclass
class Order:
    """What the workflow starts with."""

    product: str
    amount: int
    speed: Literal["slow", "fast"] = "slow"


class Shop(Executor):
    """Confirms the order."""

    @handler
    async def order(self, order: Order, ctx: WorkflowContext[Never, str]) -> None:
        """Confirm."""
        await ctx.yield_output(f"{order.amount} x {order.product}, {order.speed}")


def build() -> WorkflowBuilder:
    """A fresh workflow for each turn."""
    shop = Shop(id="shop")
    return WorkflowBuilder(name="shop", start_executor=shop, output_from=[shop])
