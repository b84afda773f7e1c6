"""The benchmark runner works. How fast anything is, no test says: that depends on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the runner reads another process's CPU from Linux")


def run(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


def rows(printed: str) -> dict[str, list[str]]:
    """The rows of the last table, by their labels."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:2] == "| "]
    return {label: values for label, *values in cells}


@pytest.mark.load
def test_a_case_prints_what_ours_takes_for_each_unit_that_the_bare_sdk_takes() -> None:
    printed = run("--quick", "--runs", "2", "--systems", "ours,sdk", "short-1")

    table = rows(printed)
    assert table[""] == ["ours", "sdk", "sdk, absolute"]
    ours, sdk, absolute = table["CPU of the server, ms a request"]
    assert sdk == "1"
    assert float(absolute) > 0
    median, smallest, largest = (
        float(number) for number in ours.replace("(", "").replace(" to ", " ").rstrip(")").split()
    )
    assert 0 < smallest <= median <= largest


@pytest.mark.load
def test_a_profile_says_whose_code_took_which_share_of_the_cpu() -> None:
    printed = run("--profile", "--runs", "1", "--systems", "ours", "stream-1000")

    table = rows(printed)
    shares = {
        label.removesuffix(", % of the CPU"): float(cells[0].split()[0])
        for label, cells in table.items()
        if label.endswith("% of the CPU") and cells[0]
    }
    assert 99 < sum(shares.values()) < 101
    assert 0 < shares["agent framework"] < 100


def test_the_list_names_every_case() -> None:
    named = {line.split()[0] for line in run("--list").splitlines()}

    assert {"stream-1000", "paced", "stored-50", "short-1", "whole-200", "trips", "start", "growth"} <= named
