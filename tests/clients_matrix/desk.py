"""A workflow that asks a person: the host sends its question as a call of a function that the client runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_framework import Executor, Message, WorkflowBuilder, WorkflowContext, handler, response_handler


@dataclass
class Refund:
    """What the person is asked."""

    order: int


class Desk(Executor):
    """Asks whether an order may be refunded."""

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.request_info(Refund(order=7), bool)

    @response_handler
    async def decide(self, asked: Refund, granted: bool, ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"Order {asked.order} is {'refunded' if granted else 'not refunded'}.")


def workflow() -> Any:
    """A fresh workflow for each turn."""
    return WorkflowBuilder(start_executor=Desk(id="desk"), name="desk").build()
