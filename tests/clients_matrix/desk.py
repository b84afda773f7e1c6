"""A workflow that asks a person before its agent continues: the host sends the question as a call of a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_framework import (
    AgentExecutorRequest,
    Executor,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
)


@dataclass
class Refund:
    """What the person is asked."""

    order: int


class Desk(Executor):
    """Asks whether an order may be refunded, and tells the agent."""

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        await ctx.send_message(AgentExecutorRequest(messages=messages, should_respond=False))
        await ctx.request_info(Refund(order=7), bool)

    @response_handler
    async def decide(self, asked: Refund, granted: bool, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        told = f"The refund of order {asked.order} was {'granted' if granted else 'refused'}."
        await ctx.send_message(AgentExecutorRequest(messages=[Message("user", [told])]))


def workflow(agent: Any) -> Any:
    """A fresh workflow for each turn, with the agent behind the desk."""
    desk = Desk(id="desk")
    return WorkflowBuilder(start_executor=desk, name="desk").add_edge(desk, agent).build()
