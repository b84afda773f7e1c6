from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

import pytest
from hypothesis import settings

from tests.stores import CHOSEN, KINDS, StoreKind

# A slow example is the machine's doing. In CI every run tries the same examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


MEMORY: Final = Path("/dev/shm")
MUCH: Final = 2 << 30
"""Bytes: more than the files of all tests."""

BYTECODE: Final = Path(__file__).parents[1] / "build" / "bytecode"

WHOLE_SUITE: Final = "about a quarter of an hour on two cores"
APART: Final = "Left out: what installs packages (-m installs), loads servers (-m load) or takes long (-m slow)."


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stores", choices=KINDS, default="memory", help="the stores of the hosts that tests serve")
    parser.addoption("--whole", action="store_true", help="also what combines again what other cases combine in pairs")
    parser.addoption("--replicas", type=int, default=1, metavar="N", help="serve N hosts in turn, on --stores postgres")


def pytest_configure(config: pytest.Config) -> None:
    keep_files_in_memory()
    keep_bytecode()
    CHOSEN.kind = cast("StoreKind", config.getoption("--stores"))
    CHOSEN.replicas = cast("int", config.getoption("--replicas"))
    if CHOSEN.replicas > 1 and CHOSEN.kind != "postgres":
        raise pytest.UsageError("--replicas needs stores that replicas share: --stores postgres")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--whole"):
        return
    again = [item for item in items if item.get_closest_marker("combined_again") is not None]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in set(again)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    skipped = {"one_replica": CHOSEN.replicas > 1, "not_on_foundry": CHOSEN.kind == "foundry"}
    for name in (name for name, is_chosen in skipped.items() if is_chosen):
        if (marker := item.get_closest_marker(name)) is not None:
            pytest.skip(str(marker.args[0]))


def keep_files_in_memory() -> None:
    """Put temporary files where a write costs no disk: every turn waits for its store."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return
    space = os.statvfs(MEMORY)
    # Tests install packages with libraries.
    if not space.f_flag & os.ST_NOEXEC and space.f_bavail * space.f_frsize >= MUCH:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def keep_bytecode() -> None:
    """Compile each module once, where Python may write nothing beside it: tests start hundreds of processes."""
    if sys.dont_write_bytecode and sys.pycache_prefix is None:
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(BYTECODE)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Spare the collector the thousands of tests and modules that stay: it takes a tenth of the processor's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in parallel; what is named on the command line runs as it says."""
    is_chosen = config.getoption("numprocesses", None) is not None
    # A worker process is configured like its parent: without the check, each would start workers of its own.
    if is_whole(config) and not is_chosen and not hasattr(config, "workerinput") and find_spec("xdist") is not None:
        config.option.numprocesses = min(os.cpu_count() or 1, 4)
        config.option.dist = "worksteal"


def pytest_sessionstart(session: pytest.Session) -> None:
    if is_whole(session.config) and not hasattr(session.config, "workerinput"):
        writer = session.config.get_terminal_writer()
        many = session.config.getoption("numprocesses", None)
        how = f"in {many} processes" if many else "in one process, because pytest-xdist is not installed or not wanted"
        writer.line(f"The whole suite, {how}. It takes {WHOLE_SUITE} in parallel; name files or folders to run less.")
        writer.line(APART)


def is_whole(config: pytest.Config) -> bool:
    """Whether nothing was selected: no file, no folder, no expression."""
    is_selected = any(config.getoption(name, None) for name in ("usepdb", "collectonly", "lf", "keyword"))
    is_selected = is_selected or config.getoption("markexpr") not in config.getini("addopts")
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not is_selected


@pytest.fixture(autouse=True)
def resilient_tasks() -> Generator[None]:
    """Ends `resilient_background`, which the SDK switches on for the whole process, with the test."""
    yield
    if (tasks := sys.modules.get("azure.ai.agentserver.core.tasks")) is not None:
        tasks.set_resilient_tasks_enabled(False)
