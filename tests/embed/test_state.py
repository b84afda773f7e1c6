"""What an application shares between its routes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_framework import Agent, Workflow, WorkflowBuilder

from hostedagent.embed import AgentState, SessionStore, WorkflowState
from hostedagent.testing import OfflineChatClient
from tests.workflows.flows import Asker


def agent() -> Agent[Any]:
    return Agent(OfflineChatClient(), name="one")


async def test_callers_that_wait_at_the_same_time_get_the_same_agent() -> None:
    made: list[Agent[Any]] = []

    async def create() -> Agent[Any]:
        await asyncio.sleep(0)
        made.append(agent())
        return made[-1]

    state = AgentState(create)
    with pytest.raises(RuntimeError, match="get_target"):
        _ = state.target
    found = await asyncio.gather(*(state.get_target() for _ in range(5)))

    assert len(made) == 1 and all(one is made[0] for one in found)
    assert state.target is made[0]


async def test_without_a_cache_every_call_creates_an_agent() -> None:
    state = AgentState(agent, cache_target=False)
    assert await state.get_target() is not await state.get_target()


async def test_an_awaitable_is_awaited_once() -> None:
    async def create() -> Agent[Any]:
        return agent()

    waiting = create()
    with pytest.raises(ValueError, match="cache_target"):
        AgentState(waiting, cache_target=False)
    state = AgentState(waiting)
    assert await state.get_target() is await state.get_target()


async def test_a_session_is_created_once_and_given_out_as_copies() -> None:
    state = AgentState(agent())
    first, second = await asyncio.gather(*(state.get_or_create_session("a") for _ in range(2)))
    assert first is not second and first.session_id == second.session_id

    first.state["seen"] = 1
    assert "seen" not in (await state.get_or_create_session("a")).state
    await state.set_session("a", first)
    assert (await state.get_or_create_session("a")).state["seen"] == 1


async def test_an_empty_id_is_refused() -> None:
    state = AgentState(agent(), session_store=SessionStore())
    with pytest.raises(ValueError, match="session_id"):
        await state.get_or_create_session("")
    with pytest.raises(ValueError, match="session_id"):
        await state.set_session("", agent().create_session())


async def test_a_builder_is_built_for_a_workflow_state() -> None:
    builder = WorkflowBuilder(name="flow", start_executor=Asker(id="asker"))
    kept: WorkflowState[Workflow] = WorkflowState(builder)
    fresh: WorkflowState[Workflow] = WorkflowState(builder, cache_target=False)
    assert await kept.get_target() is await kept.get_target()
    assert await fresh.get_target() is not await fresh.get_target()
