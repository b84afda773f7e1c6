"""`hostedagent doctor` as it is called: what it prints, as text and as JSON, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostedagent.cli import main
from hostedagent.cli.doctor import machine, unchecked
from hostedagent.cli.doctor.environment import Place, Variable
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.report import Report
from hostedagent.cli.doctor.rules import Finding
from tests.cli.doctor.bench import Bench

ERROR = Finding("a.broken", "error", "It is broken.", "mend it")
WARNING = Finding("a.odd", "warning", "It is odd.", "look at it")
NOTE = Finding("a.known", "note", "It is so.", "nothing")


def of(*findings: Finding) -> Report:
    return Report(folder="shop", findings={"first": [], "second": findings}, packages=[], variables=[])


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ((), 0, "Everything is fine."),
        ((NOTE,), 0, "Everything is fine."),
        ((WARNING, WARNING), 0, "2 warnings."),
        ((WARNING, ERROR), 1, "1 error and 1 warning."),
    ],
)
def test_only_an_error_is_a_failure(findings: tuple[Finding, ...], code: int, summary: str) -> None:
    report = of(*findings)

    assert report.exit_code == code
    assert report.text().splitlines()[-1] == summary


def test_errors_stand_before_warnings_and_each_has_its_fix_below() -> None:
    lines = [" ".join(line.split()) for line in of(WARNING, ERROR).text().splitlines()]

    assert lines[1:6] == [
        "ok first",
        "ERROR second It is broken.",
        "fix: mend it",
        "warning second It is odd.",
        "fix: look at it",
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Doctor without the checks of this machine, which may be in any state."""

    def fine(project: Project) -> Iterator[Finding]:
        del project
        yield from ()

    for name in ("machine.port", "machine.python_version", "machine.packages", "machine.home", "agent.loads"):
        monkeypatch.setattr(f"hostedagent.cli.doctor.{name}", fine)
    yield monkeypatch


def set_process(bench: Bench) -> None:
    for name in ("AZURE_ENV_NAME", "AZURE_CLIENT_SECRET", "FOUNDRY_PROJECT_ENDPOINT", "FOUNDRY_HOSTING_ENVIRONMENT"):
        bench.monkeypatch.delenv(name, raising=False)
    for name, value in bench.process.items():
        bench.monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("quick")
def test_a_project_of_init_has_no_finding(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    set_process(bench)

    assert main(["doctor", str(bench.folder)]) == 0

    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "Nothing is wrong. Not checked: 2."
    assert "fix:" not in shown


@pytest.mark.usefixtures("quick")
def test_json_has_the_findings_and_the_tables_and_no_secret(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    set_process(bench)
    bench.write(".env", "SHOP_KEY=s3cret\n")
    bench.edit("azure.yaml", "version: 2.0.0", "version: 1.0.0")

    assert main(["doctor", str(bench.folder), "--json"]) == 1

    text = capsys.readouterr().out
    shown: dict[str, Any] = json.loads(text)
    assert (shown["errors"], shown["warnings"]) == (1, 0)
    (found,) = shown["checks"]["azure.yaml"]
    assert set(found) == {"code", "level", "message", "fix"}
    assert (found["code"], found["level"]) == ("yaml.protocol", "error")
    assert {"name": "SHOP_KEY", "here": {"value": "****", "source": ".env"}, "deployed": None} in shown["environment"]
    assert "agent-framework-core" in [row["name"] for row in shown["packages"]]
    assert "s3cret" not in text


def test_a_project_that_is_not_there_is_a_wrong_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(tmp_path / "missing")]) == 2

    assert capsys.readouterr().err == f"hostedagent: {tmp_path / 'missing'} is not a folder.\n"


def test_a_check_that_was_not_made_says_so_and_why() -> None:
    report = Report(
        folder="shop",
        findings={"image": [], "name": []},
        packages=[],
        variables=[],
        unchecked={"image": "there is none"},
    )

    lines = [" ".join(line.split()) for line in report.text().splitlines()]

    assert lines[1:3] == ["- image not checked: there is none", "ok name"]
    assert lines[-1] == "Nothing is wrong. Not checked: 1."
    assert json.loads(report.json())["unchecked"] == {"image": "there is none"}


def test_what_a_project_lacks_is_not_checked(bench: Bench) -> None:
    assert set(unchecked(bench.project())) == {"credentials", "roles"}
    bench.remove("Dockerfile")
    assert {"lock", "Dockerfile"} < set(unchecked(bench.project()))


def test_a_message_is_wrapped_to_the_terminal_beside_its_check_and_a_fix_is_not() -> None:
    long = Finding("a.long", "warning", "It is odd " + "and long " * 8 + "too.", "look at it " * 8)
    whole, fix = of(long).text().splitlines()[2:4]
    first, second, last = of(long).text(80).splitlines()[2:5]

    assert len(first) <= 80 and last == fix and len(fix) > 80
    assert second == " " * whole.index("It is odd") + second.strip()
    assert f"{first} {second.strip()}" == whole


def test_the_variables_fit_the_terminal_with_each_value_and_its_source_below_their_name() -> None:
    deployed = Place("", "azure.yaml, AZURE_AI_MODEL_DEPLOYMENT_NAME from azd provision")
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    variables = [Variable(name, Place("true", ".env"), deployed), Variable("PORT", None, Place("8088", "platform"))]
    report = Report(folder="shop", findings={"first": []}, packages=[], variables=variables)

    lines = report.text(80).splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[lines.index("  VARIABLE") + 1 : -2] == [
        f"  {name}",
        "    here      true [.env]",
        "    deployed  (empty) [azure.yaml, AZURE_AI_MODEL_DEPLOYMENT_NAME from azd",
        "              provision]",
        "  PORT",
        "    deployed  8088 [platform]",
    ]


def test_a_package_that_two_extras_require_is_one_row() -> None:
    rows = [(row.requirement.name, row.tested) for row in machine.table()]

    assert rows and len(rows) == len(set(rows))
