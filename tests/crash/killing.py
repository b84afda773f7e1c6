"""Kills a process at a place of a turn, and tells what its client had got until then."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


@dataclass(slots=True)
class Remains:
    """What is known of a process that was killed."""

    responses: list[str] = field(default_factory=list[str])
    questions: list[str] = field(default_factory=list[str])
    seen: list[str] = field(default_factory=list[str])
    """The events of the last turn."""


def kill_at(root: Path, place: str, *turns: dict[str, Any], after: str | None = None) -> Remains:
    """Let a process serve turns, and kill it in the last one.

    Args:
        root: The folder of its stores.
        place: Where to stop; the type of an event that its client must have got, or a place in the server.
        turns: The requests.
        after: An event that its client must have got too.
    """
    remains, is_there, is_last = Remains(), False, False
    command = [sys.executable, "-m", "tests.crash.victim", str(root), place, json.dumps(turns)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as victim:
        assert victim.stdout is not None
        for text in victim.stdout:
            line = json.loads(text)
            if "turn" in line:
                remains.seen.clear()
                is_last = line["turn"] == len(turns) - 1
                continue
            take(remains, line)
            is_there = is_there or (is_last and place in (line.get("at"), line.get("event")))
            if is_there and (after is None or after in remains.seen):
                break
        else:
            raise AssertionError(f"the process ended before {place!r}")
        victim.kill()
    return remains


def take(remains: Remains, line: dict[str, Any]) -> None:
    if "event" in line:
        remains.seen.append(line["event"])
        if line["event"] == "response.created":
            remains.responses.append(line["id"])
        if line["item"] == "mcp_approval_request" and line["id"] not in remains.questions:
            remains.questions.append(line["id"])
