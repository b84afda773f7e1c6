"""A turn that is steered between the call of a tool and its result."""

from __future__ import annotations

import asyncio

from agent_framework import AgentResponseUpdate, Content

from hostedagent.engine.context import TurnContext
from hostedagent.identity import current_context

CALL = Content.from_function_call("c1", "look_up", arguments="{}")
RESULT = AgentResponseUpdate(contents=[Content.from_function_result("c1", result="rain")], role="tool")


async def until_steered() -> None:
    while True:
        context = current_context()
        if isinstance(context, TurnContext) and context.is_steered:
            return
        await asyncio.sleep(0)
