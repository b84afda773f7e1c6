"""What user code raises ends its task, and never the loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hostedagent.agents.exits import ExitInTurn, contain_exits
from tests.patience import PATIENCE


async def leave() -> None:
    raise SystemExit("secret-1")


async def turn() -> None:
    contain_exits()
    with pytest.raises(ExitInTurn, match="raised SystemExit") as failed:
        await asyncio.create_task(leave())
    assert "secret-1" not in str(failed.value)


def test_a_task_that_exits_fails_and_its_loop_goes_on() -> None:
    asyncio.run(turn())


@pytest.mark.parametrize(
    ("code", "ends"), [("sys.exit(7)", 7), ("sys.exit()", 0), ("sys.exit('secret-1')", 1), ("1 / 0", 1)]
)
def test_a_copy_of_the_process_that_a_tool_forked_does_not_return_to_the_loop(code: str, ends: int) -> None:
    script = f"""
import asyncio, os, sys
from hostedagent.agents.exits import contain_exits

async def tool():
    if (copy := os.fork()) == 0:
        {code}
    return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])

async def run():
    try:
        return await tool()
    except Exception:
        await asyncio.sleep(0)
        print("the copy goes on", flush=True)

async def turn():
    contain_exits()
    print(await asyncio.create_task(run()))

asyncio.run(turn())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.stdout == f"{ends}\n", done.stderr
