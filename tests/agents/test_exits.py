"""What user code raises ends its task, and never the loop."""

from __future__ import annotations

import asyncio

import pytest

from hostedagent.agents.exits import ExitInTurn, contain_exits


async def leave() -> None:
    raise SystemExit("secret-1")


async def turn() -> None:
    contain_exits()
    with pytest.raises(ExitInTurn, match="raised SystemExit") as failed:
        await asyncio.create_task(leave())
    assert "secret-1" not in str(failed.value)


def test_a_task_that_exits_fails_and_its_loop_goes_on() -> None:
    asyncio.run(turn())
