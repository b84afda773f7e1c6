"""A workflow that asks for an order with every kind of field."""

from datetime import date
from typing import Literal, Never

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler
from pydantic import BaseModel, Field


class Address(BaseModel):
    """Where it goes."""

    street: str
    zip: int = Field(ge=1)
    next: "Address | None" = None


class Order(BaseModel):
    """What the person answers."""

    product: str
    amount: int = Field(ge=1, le=9)
    speed: Literal["slow", "fast"] = "slow"
    gift: bool = False
    insured: bool | None = None
    day: date | None = None
    tags: list[str] = []
    address: Address
    invoice: Address | None = None
    note: str | None = Field("Ring twice", description="For the driver.")


class Shop(Executor):
    """Asks for the order and confirms it."""

    @handler
    async def start(self, text: str, ctx: WorkflowContext[Never, str]) -> None:
        """Ask."""
        await ctx.request_info("What shall it be?", Order)

    @response_handler
    async def confirm(self, asked: str, order: Order, ctx: WorkflowContext[Never, str]) -> None:
        """Say what was understood, and what was left out."""
        await ctx.yield_output(f"`{order.model_dump_json(exclude_unset=True)}`")


def build() -> WorkflowBuilder:
    """A fresh workflow for each turn."""
    shop = Shop(id="shop")
    return WorkflowBuilder(name="shop", start_executor=shop, output_from=[shop])
