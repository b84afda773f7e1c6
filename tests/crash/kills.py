"""Kills a talking process again and again, and checks after each kill what the next one remembers."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
MOST_LINES = 12
"""Lines after which a process is killed at the latest: two for each turn."""


@dataclass(slots=True)
class Kills:
    """What is known of one conversation across the processes that had it.

    Attributes:
        told: The turns whose callers were told that they were completed.
        untold: The turns that had begun when their process was killed.
        kills: How many processes were killed.
        wrong: What must not have happened.
    """

    told: list[int] = field(default_factory=list[int])
    untold: set[int] = field(default_factory=set[int])
    kills: int = 0
    kept: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def take(self, line: dict[str, Any]) -> None:
        """One line of a process."""
        if "begun" in line:
            self.untold.add(line["begun"])
        elif "told" in line:
            self.untold.discard(line["told"])
            self._check(line["told"], [int(text.removeprefix("user: n")) for text in line["heard"]], line["answers"])
            self.told.append(line["told"])
        else:
            self.wrong.append(f"a turn ended otherwise: {line}")

    def _check(self, number: int, heard: list[int], answers: int) -> None:
        if lost := [turn for turn in self.told if turn not in heard]:
            self.wrong.append(f"turn {number} does not remember {lost}")
        if len(set(heard)) != len(heard) or heard != sorted(heard):
            self.wrong.append(f"turn {number} remembers {heard}")
        if unknown := set(heard) - {number} - set(self.told) - self.untold:
            self.wrong.append(f"turn {number} remembers {unknown}, which never began")
        if answers != len(heard) - 1:
            self.wrong.append(f"turn {number} remembers {answers} answers to {len(heard) - 1} questions")
        self.kept = len(self.untold & set(heard))

    @property
    def next(self) -> int:
        """The number of the next turn."""
        return max([*self.told, *self.untold], default=0) + 1


def kill_often(path: Path, kills: int, *, seed: int = 1) -> Kills:
    """Kill processes that talk in one conversation, each after a few lines.

    Args:
        path: The file of their store.
        kills: How many.
        seed: Decides when.
    """
    chance, seen = random.Random(seed), Kills()
    for _ in range(kills):
        _talk(path, seen, chance.randint(1, MOST_LINES))
        seen.kills += 1
    _talk(path, seen, 2)
    with sqlite3.connect(path) as file:
        (verdict,) = file.execute("pragma integrity_check").fetchone()
    if verdict != "ok":
        seen.wrong.append(f"the file is damaged: {verdict}")
    return seen


def _talk(path: Path, seen: Kills, lines: int) -> None:
    command = [sys.executable, "-m", "tests.crash.talker", str(path), str(seen.next)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=PROJECT) as talker:
        assert talker.stdout is not None
        for _ in range(lines):
            if not (line := talker.stdout.readline()):
                break
            seen.take(json.loads(line))
        talker.kill()
        for line in talker.stdout:  # What it said between our last look and its death.
            if line.endswith("\n"):
                seen.take(json.loads(line))
