"""The endings that take the process along: each cell of the table, with a process that is stopped or killed."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostedagent import AgentHost
from hostedagent.testing import serve
from tests.lifecycle.observing import body_of, last_told, next_prompt, settled, shown
from tests.lifecycle.process import stores_of
from tests.lifecycle.running import Running, running, said_by
from tests.lifecycle.subject import PATIENCE, Gates, Subject
from tests.lifecycle.table import MODES, SUBJECTS, TABLE, End, Ending, Mode
from tests.postgres.server import postgres_dsn, schema
from tests.stores import CHOSEN

CELLS: list[tuple[str, Mode]] = [(serves, mode) for serves in SUBJECTS for mode in MODES]


@dataclass(slots=True)
class Talk:
    """A turn in each mode with each subject, that stands in the middle of its answer when something happens."""

    ids: dict[tuple[str, Mode], str] = field(default_factory=dict[tuple[str, Mode], str])
    wire: dict[tuple[str, Mode], str] = field(default_factory=dict[tuple[str, Mode], str])

    async def hold(
        self, root: Path, *, grace: float, kills: bool = False, opens: bool = False, is_resilient: bool = False
    ) -> Running:
        """Hold the turns, stop the process, and hear what the clients are told until it has ended."""
        async with running(root, grace=grace, is_resilient=is_resilient) as (process, http):
            hellos = [said_by(http, body_of("hello", "sync", place(*cell), cell[0])) for cell in CELLS]
            await asyncio.gather(*hellos)
            begun = [asyncio.Event() for _ in CELLS]
            turns = [
                asyncio.create_task(said_by(http, body_of(word(*cell), cell[1], place(*cell), cell[0]), begun=event))
                for cell, event in zip(CELLS, begun, strict=True)
            ]
            for cell in CELLS:
                await process.gates.reached(word(*cell))
                self.ids[cell] = await process.gates.response(word(*cell))
            async with asyncio.timeout(PATIENCE):
                for cell, event in zip(CELLS, begun, strict=True):
                    if cell[1] in ("stream", "background+stream"):
                        await event.wait()
            if kills:
                process.process.kill()
            else:
                process.terminate()
                await process.at("told to stop")
            for cell in CELLS if opens else ():
                process.open(word(*cell))
            for cell, turn in zip(CELLS, turns, strict=True):
                self.wire[cell] = last_told(cell[1], await turn)
            code = await process.ended()
            assert kills or code == 0
        return process

    async def take_up(self, root: Path) -> None:
        """Let a process go on with the turns, as far as it does that."""
        async with running(root, grace=8, is_resilient=True) as (process, http):
            for cell in CELLS:
                if cell[1].startswith("background"):
                    await process.gates.reached(word(*cell))
                    process.open(word(*cell))
            for cell in CELLS:
                while (await http.get(f"/responses/{self.ids[cell]}")).json()["status"] == "in_progress":
                    pass
            process.terminate()
            assert await process.ended() == 0

    async def seen_by_the_next(self, root: Path) -> dict[tuple[str, Mode], End]:
        """What a process sees that is started in the place of the one that has ended."""
        subject, seen = Subject(Gates()), dict[tuple[str, Mode], End]()
        async with serve(AgentHost(subject, stores=stores_of(root)).app) as client:
            for cell in CELLS:
                response = await settled(client, self.ids[cell])
                prompt = await next_prompt(client, subject, word(*cell), place(*cell), cell[0])
                seen[cell] = End(self.wire[cell], shown(response, word(*cell)), prompt)
        return seen


def word(serves: str, mode: Mode) -> str:
    return f"held {serves} {mode}"


def place(serves: str, mode: Mode) -> str:
    return f"conv_{serves}_{mode.replace('+', '_')}"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder with the stores of the processes: a file, or with `--stores postgres` the name of a database."""
    if CHOSEN.kind != "postgres":
        yield tmp_path
        return
    with schema() as name:
        (tmp_path / "postgres.json").write_text(json.dumps({"dsn": postgres_dsn(), "schema": name}))
        yield tmp_path


def rows(ending: Ending) -> dict[tuple[str, Mode], End]:
    return {(serves, mode): TABLE[ending, mode] for serves, mode in CELLS}


async def test_turns_that_end_in_time_end_well_when_the_process_is_told_to_stop(root: Path) -> None:
    talk = Talk()
    process = await talk.hold(root, grace=8, opens=True)

    assert not [line for line in process.told if "stopped" in line]
    assert await talk.seen_by_the_next(root) == rows("SIGTERM, short")


async def test_turns_that_take_too_long_are_stopped_before_the_process_says_that_it_is(root: Path) -> None:
    talk = Talk()
    process = await talk.hold(root, grace=0)

    assert process.told[-1] == {"at": "stopped"}
    assert sorted(line["stopped"] for line in process.told if "stopped" in line) == sorted(
        word(*cell) for cell in CELLS
    )
    assert await talk.seen_by_the_next(root) == rows("SIGTERM, long")


async def test_turns_of_a_process_that_is_killed_have_failed(root: Path) -> None:
    talk = Talk()
    await talk.hold(root, grace=8, kills=True)

    assert await talk.seen_by_the_next(root) == rows("kill -9")


@pytest.mark.parametrize("ending", ["SIGTERM, long, resilient", "kill -9, resilient"])
async def test_turns_in_the_background_are_finished_by_the_next_process_where_that_is_wanted(
    root: Path, ending: Ending
) -> None:
    talk = Talk()
    await talk.hold(root, grace=0, kills="kill" in ending, is_resilient=True)
    await talk.take_up(root)

    assert await talk.seen_by_the_next(root) == rows(ending)
