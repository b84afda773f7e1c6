"""`hostedagent init`: what it asks, what it refuses, and that it overwrites nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostedagent.cli import main
from hostedagent.cli.init import name_from
from hostedagent.cli.init.uv import Origin, origin_of
from hostedagent.templates import LOCK, Choices, render

RELOCK = (
    "uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 --output-file requirements.lock"
)


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A stand-in for uv, and what sets its script; by itself it writes a lock of two packages."""
    script = tmp_path / "uv"

    def set_to(text: str) -> None:
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    set_to(f"printf 'a==1 --hash=sha256:00\\nb==2 --hash=sha256:00\\n' > {LOCK}")
    monkeypatch.setenv("UV", str(script))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    # As if it came from an index, however these tests have it.
    monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: None)
    yield set_to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "My Shop"


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_everything_that_was_promised_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(folder), "--yes"]) == 0

    assert written(folder) == {*render(Choices(name="my-shop")), LOCK}
    assert written(folder) >= {
        ".devcontainer/devcontainer.json",
        ".dockerignore",
        ".env.example",
        ".github/workflows/azure-dev.yml",
        ".gitignore",
        "AGENTS.md",
        "Dockerfile",
        "README.md",
        "azure.yaml",
        "infra/main.bicep",
        "infra/main.parameters.json",
        "main.py",
        "pyproject.toml",
        "tests/test_agent.py",
    }
    assert f"Wrote {LOCK}: 2 packages with their hashes." in capsys.readouterr().out


def test_the_name_is_the_folder_s_unless_it_is_said(folder: Path) -> None:
    assert main(["init", str(folder), "--yes"]) == 0
    assert main(["init", str(folder / "other"), "--yes", "--name", "seller"]) == 0

    assert '\nname: "my-shop"\n' in (folder / "azure.yaml").read_text()
    assert '\nname: "seller"\n' in (folder / "other" / "azure.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "expected"), [("shop", "shop"), ("My  Shop!", "my-shop"), ("ä", "my-agent"), ("x" * 70 + "-", "x" * 63)]
)
def test_a_folder_s_name_becomes_one_that_azd_takes(name: str, expected: str, tmp_path: Path) -> None:
    assert name_from(tmp_path / name) == expected


def test_flags_need_nobody_to_ask(folder: Path) -> None:
    assert main(["init", str(folder), "--name", "shop", "--model", "gpt-6", "--features", "none"]) == 0
    assert main(["init", str(folder / "b"), "--name", "shop", "--provider", "offline", "--features", "none"]) == 0

    assert "@tool" not in (folder / "main.py").read_text()
    assert "gpt-6" in (folder / ".env.example").read_text()


def test_a_protocol_is_declared_where_it_is_named(folder: Path) -> None:
    assert main(["init", str(folder), "--yes", "--protocol", "invocations"]) == 0

    assert "- protocol: invocations\n" in (folder / "azure.yaml").read_text()
    assert "doors=[Invocations()]" in (folder / "main.py").read_text()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "or pass --name, --model, --features."),
        (["--name", "a1", "--model", "m"], "or pass --features."),
    ],
)
def test_without_a_terminal_what_is_not_said_is_an_error(
    flags: list[str], named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(folder), *flags]) == 2

    shown = capsys.readouterr().err
    assert "Add --yes" in shown
    assert named in shown
    assert not folder.exists()


def test_at_a_terminal_only_what_was_not_said_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("No Name\n\nopenai\ncode\nworkflow\n"))

    assert main(["init", str(folder), "--model", "gpt-6"]) == 0

    shown = capsys.readouterr().out
    assert "'No Name' cannot be the agent's name" in shown
    assert "Model" not in shown
    assert '\nname: "my-shop"\n' in (folder / "azure.yaml").read_text()
    assert "codeConfiguration" in (folder / "azure.yaml").read_text()
    assert "OPENAI_API_KEY" in (folder / "main.py").read_text()
    assert "WorkflowBuilder" in (folder / "main.py").read_text()


@pytest.mark.parametrize(("flags", "answers"), [([], "shop\noffline\n\n\n"), (["--provider", "offline"], "shop\n\n\n")])
def test_a_project_without_a_model_is_not_asked_for_one(
    flags: list[str], answers: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answers))

    assert main(["init", str(folder), *flags]) == 0

    assert "Model" not in capsys.readouterr().out


def test_answers_that_end_too_soon_write_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("shop\n"))

    assert main(["init", str(folder)]) == 2

    assert not folder.exists()


@pytest.mark.parametrize(
    "flags", [["--name", "Shop"], ["--name", "a"], ["--name", "a-"], ["--model", "a b"], ["--features", "magic"]]
)
def test_what_cannot_be_is_refused(flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(folder), "--yes", *flags]) == 2

    assert repr(flags[1]) in capsys.readouterr().err
    assert not folder.exists()


def _file(path: Path) -> None:
    path.write_text("mine")


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_file, _dangling_link, Path.mkdir])
@pytest.mark.parametrize("name", ["main.py", LOCK])
def test_what_is_in_the_way_is_named_and_nothing_is_written(
    name: str, make: Callable[[Path], None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    make(folder / name)
    before = sorted(folder.rglob("*"))

    assert main(["init", str(folder), "--yes"]) == 1

    assert f"there is already: {name}. " in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_all_files_in_the_way_are_named_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(folder), "--yes"]) == 0
    (folder / "main.py").write_text("mine")

    assert main(["init", str(folder), "--yes"]) == 1

    assert (folder / "main.py").read_text() == "mine"
    named = capsys.readouterr().err.partition("already: ")[2].partition(". Choose")[0].split(", ")
    assert set(named) == written(folder)


def test_a_file_where_a_folder_must_be_is_in_the_way(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / "tests").write_text("mine")

    assert main(["init", str(folder), "--yes"]) == 1

    assert "there is already: tests. " in capsys.readouterr().err
    assert (folder / "tests").read_text() == "mine"


@pytest.mark.parametrize(("make", "what"), [(_file, "a file"), (_dangling_link, "a link to what is not there")])
def test_what_stands_where_the_project_is_to_be_is_told(
    make: Callable[[Path], None], what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(folder)

    assert main(["init", str(folder), "--yes"]) == 1

    assert capsys.readouterr().err == (
        f"hostedagent: Nothing was written: {folder} is {what}, not a folder. Choose another folder.\n"
    )
    assert not folder.is_dir()


def test_add_writes_only_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    for name in ("main.py", LOCK):
        (folder / name).write_text("mine")

    assert main(["init", str(folder), "--yes", "--add"]) == 0

    assert written(folder) == {*render(Choices(name="my-shop")), LOCK}
    assert [(folder / name).read_text() for name in ("main.py", LOCK)] == ["mine", "mine"]
    assert "Kept as they are: main.py." in capsys.readouterr().out


def test_add_still_refuses_a_file_where_a_folder_must_be(folder: Path) -> None:
    folder.mkdir()
    (folder / "infra").write_text("mine")

    assert main(["init", str(folder), "--yes", "--add"]) == 1

    assert written(folder) == {"infra"}


def test_other_files_of_the_folder_stay(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")

    assert main(["init", str(folder), "--yes"]) == 0

    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")

    assert main(["init", str(tmp_path / "file" / "below"), "--yes"]) == 1

    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_uv_the_command_for_the_lock_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(folder))

    assert main(["init", str(folder), "--yes"]) == 1

    printed = capsys.readouterr()
    shown = [line.strip() for line in printed.err.splitlines()]
    assert RELOCK in shown
    assert "uv is not installed: pip install uv" in shown
    assert not (folder / LOCK).exists()
    assert printed.out.endswith("&& pip install -e . && hostedagent run\n")


def test_without_uv_pip_builds_the_wheel(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\necho "$@" > "$7/said"\n: > "$6/hostedagent-1-py3-none-any.whl"\n')
    pip.chmod(0o755)
    source = tmp_path / "checkout"
    source.mkdir()
    monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: Origin(source))
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(pip))

    assert main(["init", str(folder), "--yes"]) == 1

    assert (folder / "wheels" / "hostedagent-1-py3-none-any.whl").is_file()
    assert (source / "said").read_text().startswith("-m pip wheel --no-deps --wheel-dir ")
    assert capsys.readouterr().out.endswith("&& pip install --find-links wheels -e . && hostedagent run\n")


def test_what_uv_says_is_told_with_the_command(
    uv: Callable[[str], None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uv("echo 'there is no hostedagent' >&2; exit 1")

    assert main(["init", str(folder), "--yes"]) == 1

    shown = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert RELOCK in shown
    assert "there is no hostedagent" in shown


def test_the_lock_is_made_in_the_project_by_the_command_that_is_told(uv: Callable[[str], None], folder: Path) -> None:
    uv(f'echo "$PWD $@" > said && touch {LOCK}')

    assert main(["init", str(folder), "--yes"]) == 0

    assert (folder / "said").read_text() == f"{os.path.realpath(folder)} {RELOCK.removeprefix('uv ')} --quiet\n"


def test_a_distribution_that_came_from_no_index_is_recognised() -> None:
    assert origin_of(None) is None
    assert origin_of('{"url": "https://example.com/hostedagent-0.1.0-py3-none-any.whl", "archive_info": {}}') is None
    assert origin_of('{"url": "file:///a%20b/hostedagent.whl", "archive_info": {}}') == Origin(
        Path("/a b/hostedagent.whl")
    )


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel from which hostedagent was installed."""
    path = tmp_path / "somewhere" / "hostedagent-9.9-py3-none-any.whl"
    path.parent.mkdir()
    path.write_text("a wheel")
    monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: Origin(path))
    return path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout from which hostedagent was installed."""
    path = tmp_path / "check out"
    path.mkdir()
    monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: Origin(path))
    return path


def test_a_project_brings_along_the_wheel_that_is_in_no_index(wheel: Path, folder: Path) -> None:
    assert main(["init", str(folder), "--yes"]) == 0

    assert (folder / "wheels" / wheel.name).read_text() == "a wheel"
    assert 'find-links = ["wheels"]' in (folder / "pyproject.toml").read_text()
    assert "COPY wheels ./wheels\n" in (folder / "Dockerfile").read_text()
    assert "!wheels\n" in (folder / ".dockerignore").read_text()
    assert str(wheel.parent) not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


def test_a_wheel_is_built_of_a_checkout(uv: Callable[[str], None], checkout: Path, folder: Path) -> None:
    uv(f'[ "$1" = pip ] && touch {LOCK} || {{ echo "$5" > "$4/hostedagent.whl" && touch "$4/.gitignore"; }}')

    assert main(["init", str(folder), "--yes"]) == 0

    assert [path.name for path in (folder / "wheels").iterdir()] == ["hostedagent.whl"]
    assert (folder / "wheels" / "hostedagent.whl").read_text() == f"{checkout}\n"


def test_a_wheel_that_cannot_be_built_is_told_with_the_command(
    uv: Callable[[str], None], checkout: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uv("echo 'no backend' >&2; exit 1")

    assert main(["init", str(folder), "--yes"]) == 1

    captured = capsys.readouterr()
    shown = [line.strip() for line in captured.out.splitlines()]
    assert f"uv build --wheel --out-dir wheels '{checkout}'" in shown
    assert "no backend" in shown
    assert "There is no requirements.lock yet" in captured.err


@pytest.mark.usefixtures("wheel")
def test_a_folder_for_the_wheel_that_exists_is_in_the_way(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wheels").mkdir(parents=True)

    assert main(["init", str(folder), "--yes"]) == 1

    assert "there is already: wheels. " in capsys.readouterr().err
    assert not written(folder)


def test_from_an_index_nothing_speaks_of_wheels(folder: Path) -> None:
    assert main(["init", str(folder), "--yes"]) == 0

    texts = {name: (folder / name).read_text() for name in ("pyproject.toml", "Dockerfile", ".dockerignore")}
    assert [name for name, text in texts.items() if "wheels" in text] == []
    assert not (folder / "wheels").exists()
