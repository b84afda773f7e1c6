"""`hostedagent init --only`: some of the files, which a project is missing."""

from pathlib import Path

import pytest

from hostedagent.cli import main
from hostedagent.templates import Choices, render


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_named_and_missing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Dockerfile").write_text("mine")

    assert main(["init", str(tmp_path), "--yes", "--only", "Dockerfile,infra"]) == 0

    infra = {name for name in render(Choices(name="shop")) if name.startswith("infra/")}
    assert written(tmp_path) == {"Dockerfile", *infra}
    assert (tmp_path / "Dockerfile").read_text() == "mine"
    assert "Kept as they are: Dockerfile." in capsys.readouterr().out


def test_what_no_project_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "shop"), "--yes", "--only", "azure.yml"]) == 2

    assert "A project has no 'azure.yml'." in capsys.readouterr().err
    assert written(tmp_path) == set()
