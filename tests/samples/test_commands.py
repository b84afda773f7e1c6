"""The commands of the documents are run as they stand there; only the port is one that is free."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostedagent.emulator import Emulator
from hostedagent.templates import PROTOCOLS, Choices, render
from tests.browser.conftest import PICTURE
from tests.patience import PATIENCE
from tests.samples.commands import VERDICTS, WITHOUT_WORKFLOW, Elsewhere, Here, commands_of, documented, verdict_of
from tests.samples.server import ROOT, served

COMMANDS = documented()
ADDRESS = "http://127.0.0.1:8088"
WAITS = 3
"""The exit code of `invoke` where the agent waits for an answer."""


def in_setting(name: str) -> list[str]:
    return [command for command in COMMANDS if verdict_of(command) == Here(name)]


def arguments_of(command: str, url: str = "") -> list[str]:
    """The words of a command, run by this Python and against a server of the test."""
    words = shlex.split(command)
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[0] == "hostedagent":
        words = [sys.executable, "-m", *words]
        if url and ADDRESS not in words:
            words += ["--url", ADDRESS]
    elif words[0] in ("python", "pytest"):
        words = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]
    return [word.replace(ADDRESS, url) if url else word for word in words]


def ran(
    command: str, folder: Path, url: str = "", *, codes: tuple[int, ...] = (0,), home: Mapping[str, str] | None = None
) -> str:
    """What a command prints."""
    words = arguments_of(command, url)
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **(home or {})},
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode in codes, done.stderr + done.stdout
    return done.stdout


@contextmanager
def started(command: str, folder: Path, **variables: str) -> Generator[str]:
    """A documented `hostedagent run`, on a free port."""
    words = shlex.split(command)
    target = words[words.index("run", words.index("hostedagent")) + 1 :]
    with served(*target, folder=folder, **variables) as url:
        yield url


@pytest.mark.parametrize(("command", "document"), COMMANDS.items())
def test_a_command_is_run_by_a_test_or_has_a_reason_why_not(command: str, document: str) -> None:
    verdict = verdict_of(command)
    assert verdict is not None, f"{document} shows {command!r}: add a row to tests/samples/commands.py"
    if isinstance(verdict, Elsewhere):
        text = (ROOT / verdict.file).read_text(encoding="utf-8")
        is_function = re.fullmatch(r"\w+", verdict.name) is not None and verdict.file.endswith(".py")
        assert (f"def {verdict.name}(" if is_function else verdict.name) in text


def test_every_row_is_a_command_of_a_document() -> None:
    assert [command for command in VERDICTS if command not in COMMANDS] == []


@pytest.mark.parametrize("command", in_setting("checkout"))
def test_a_command_works_in_a_checkout(command: str) -> None:
    if "hostedagent run" not in command:
        assert "short-1" in ran(command, ROOT)
        return
    with started(command, ROOT) as url:
        assert "42.5" in ran('hostedagent invoke "Please add_numbers 2 and 40.5"', ROOT, url)


def test_the_commands_of_the_command_line_work_in_their_order(hello: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PICTURE)
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    said = {command: ran(command, tmp_path, hello, home=home) for command in in_setting("hello")}
    assert said['hostedagent invoke "What is the weather in Paris?" --stream'].strip()
    assert len(said) == 5


async def test_the_emulator_keeps_users_apart(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    first, second = in_setting("emulator")
    async with Emulator() as emulator:

        def talk() -> None:
            with served("samples/hello/agent.py", folder=ROOT, **emulator.environment) as url:
                ran(first, tmp_path, url, home=home)
                assert "Ada" in ran(second, tmp_path, url, home=home)
                assert "404" in _refused(second.replace("ada", "bob"), tmp_path, url, home)
                assert "401" in _refused('hostedagent invoke "Hello"', tmp_path, url, home)

        await asyncio.to_thread(talk)


def _refused(command: str, folder: Path, url: str, home: Mapping[str, str]) -> str:
    done = subprocess.run(
        arguments_of(command, url),
        cwd=folder,
        env={**os.environ, **home},
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    return done.stderr


def test_getting_started_works_as_it_is_written(tmp_path: Path) -> None:
    text = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    for name in ("my_agent.py", "test_my_agent.py"):
        code = re.search(rf"Save this as `{name}`:\n\n```python\n(.*?)```", text, re.DOTALL)
        assert code is not None
        (tmp_path / name).write_text(code[1], encoding="utf-8")
    settings = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert settings is not None
    (tmp_path / "pyproject.toml").write_text(settings[1], encoding="utf-8")

    serve, test = in_setting("getting-started")

    with started(serve, tmp_path) as url:
        assert ran('hostedagent invoke "My name is Ada."', tmp_path, url).strip()
    assert "1 passed" in ran(test, tmp_path)


def test_the_commands_of_a_new_project_work(tmp_path: Path) -> None:
    chosen = Choices(name="shop", provider="offline", features=WITHOUT_WORKFLOW, protocols=frozenset(PROTOCOLS))
    for name, text in render(chosen).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    serve, *asks = in_setting("project")
    serve_without_uv, test = in_setting("project-pip")
    assert {serve, serve_without_uv, test} <= set(commands_of((tmp_path / "README.md").read_text()))
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}

    with served("main.py", "--reload", folder=tmp_path) as url:
        said = {ask: ran(ask, tmp_path, url, codes=(0, WAITS), home=home) for ask in asks}

    assert said['uv run hostedagent invoke "Where is order A1?"'].strip() == "look_up_order says: shipped on Monday"
    assert "Monday to Friday" in said['uv run hostedagent invoke "Call opening_hours."']
    assert all("Ada" in text for ask, text in said.items() if "Ada" in ask)
    assert "passed" in ran(test, tmp_path)
