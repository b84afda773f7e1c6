"""A workflow whose second step waits until the file that `GO` names is there."""

import asyncio
import os
from pathlib import Path
from typing import Never

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler

GO = Path(os.environ["GO"])


class First(Executor):
    """Passes the text on."""

    @handler
    async def start(self, text: str, ctx: WorkflowContext[str]) -> None:
        """Pass it on."""
        await ctx.send_message(text)


class Second(Executor):
    """Waits, then says it."""

    @handler
    async def finish(self, text: str, ctx: WorkflowContext[Never, str]) -> None:
        """Wait."""
        while not GO.exists():  # noqa: ASYNC110, ASYNC240 - the test has no other way to tell it
            await asyncio.sleep(0.05)
        await ctx.yield_output(text)


def build() -> WorkflowBuilder:
    """A fresh workflow for each turn."""
    first, second = First(id="first"), Second(id="second")
    return WorkflowBuilder(name="waiting", start_executor=first, output_from=[second]).add_edge(first, second)
