"""kill -9 of a process whose background turn came through Invocations: the next one finishes it, as that invocation."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.killing import PROJECT
from tests.soak.backends import SUBJECTS, Backend, Subject, backend

SDK = {"AGENTSERVER_TASKS_BACKEND": "local"}


async def live(root: Path, driver: str, life: str, store: Backend) -> dict[str, Any]:
    """What a process said; the first one is killed in the middle of the turn's tool."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.door_victim", str(root), driver, life, *store.arguments),
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, **SDK, "AGENTSERVER_STATE_ROOT": str(root / "sdk"), **store.environment},
    )
    assert process.stdout is not None
    said: dict[str, Any] = {}
    async for text in process.stdout:
        said = {**json.loads(text), **said}  # The turn that is resumed ends first.
        if life == "begin" and said.keys() >= {"made", "at"}:
            process.kill()
    assert await process.wait() == (-9 if life == "begin" else 0)
    return said


@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one.store in ("sqlite", "postgres")], ids=str)
async def test_a_killed_invocation_is_finished_and_its_effect_is_performed_once(
    subject: Subject, tmp_path: Path
) -> None:
    async with backend(subject.store, tmp_path) as store:
        begun = await live(tmp_path, subject.driver, "begin", store)
        done = await live(tmp_path, subject.driver, "finish", store)

    assert begun["made"]["status"] == "in_progress"
    assert (done["outcome"], done["door"], done["session"]) == ("Completed", "invocations", "s1")
    assert (done["answer"]["status"], done["answer"]["response"]) == ("completed", "Done.")
    assert done["answer"]["response_id"] == begun["made"]["response_id"]
    assert done["statuses"] == [404, 409]
    ran = (tmp_path / "done.txt").read_text().split()
    assert (ran.count("paid"), ran.count("ran")) == (1, 2)
    assert done["prompt"][-2:] == ["assistant: Done.", "user: more"] and done["prompt"][0] == "user: pay ann"


async def test_on_foundry_a_killed_invocation_has_failed_and_leaves_nothing_in_the_next_prompt(tmp_path: Path) -> None:
    async with backend("foundry", tmp_path) as store:
        begun = await live(tmp_path, "agentserver", "begin", store)
        done = await live(tmp_path, "agentserver", "finish", store)

    assert (begun["made"]["status"], done["answer"]["status"]) == ("in_progress", "failed")
    assert done["answer"]["response_id"] == begun["made"]["response_id"]
    assert done["statuses"] == [404, 409]
    assert done["prompt"][0] == "user: more"
