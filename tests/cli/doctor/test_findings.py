"""Each thing that doctor can find: the healthy project has it not, the broken one has, and the fix is printed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from hostedagent.cli.doctor.report import Report
from hostedagent.cli.doctor.rules import Finding
from tests.cli.doctor.bench import ENDPOINT, Bench, Case, rules
from tests.cli.doctor.cases import CASES, ONLINE
from tests.patience import PATIENCE

LOCAL = ("agent", "port")
"""Checks whose healthy state depends on more than the bench: they have tests of their own below."""


@dataclass(frozen=True, slots=True)
class Broken:
    case: Case
    folder: Path
    before: list[Finding]
    report: Report

    def found(self) -> list[Finding]:
        return [finding for finding in self.report.findings[self.case.check] if finding.code == self.case.code]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.code)
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    case: Case = request.param
    with pytest.MonkeyPatch.context() as patch, ExitStack() as sockets:
        bench = Bench.set_up(tmp_path_factory.mktemp("bench"), patch)
        before = [] if case.check in LOCAL else bench.findings(case.check)
        case.breaks(bench)
        for taken in bench.sockets:
            sockets.enter_context(taken)
        yield Broken(case, bench.folder, before, bench.report(case.check))


def test_every_rule_has_a_case() -> None:
    assert sorted(rules()) == sorted({case.code for case in CASES} | ONLINE)


def test_what_is_broken_is_found(broken: Broken) -> None:
    assert broken.case.code not in [finding.code for finding in broken.before]
    assert {finding.level for finding in broken.found()} == {rules()[broken.case.code].level}


def test_what_repairs_it_is_printed(broken: Broken) -> None:
    printed = [line.strip() for line in broken.report.text().splitlines()]

    assert f"fix: {broken.case.fix.replace('{folder}', str(broken.folder))}" in printed


def test_a_free_port_is_no_finding(bench: Bench) -> None:
    asked: list[int] = []

    def free_port(host: str, port: int) -> int:
        del host
        asked.append(port)
        return port

    bench.monkeypatch.setattr("hostedagent.cli.doctor.machine.free_port", free_port)
    bench.process["PORT"] = "9000"

    assert bench.findings("port") == []
    assert asked == [9000]


@pytest.mark.parametrize("code", ["docker.env_file", "env.dotenv"])
def test_a_fix_that_is_a_command_of_the_shell_repairs_it(code: str, bench: Bench) -> None:
    case = next(case for case in CASES if case.code == code)
    case.breaks(bench)

    subprocess.run(["sh", "-c", case.fix], cwd=bench.folder, check=True, timeout=PATIENCE)

    assert bench.findings(case.check) == []


def test_a_project_of_init_can_be_loaded(bench: Bench) -> None:
    assert bench.findings("agent") == []


def test_an_agent_that_was_named_is_looked_at(bench: Bench) -> None:
    bench.write("other.py", "from main import agent\n")
    bench.wanted = "other.py:missing"

    (found,) = bench.findings("agent")

    assert found.code == "agent.target"
    assert "missing" in found.message


def test_the_agent_that_azure_yaml_starts_is_looked_at(bench: Bench) -> None:
    bench.write("agents/other.py", "raise RuntimeError('another')\n")
    bench.edit("azure.yaml", "python -m hostedagent run", "python agents/other.py")

    (found,) = bench.findings("agent")

    assert found.code == "agent.raises"
    assert found.message.startswith("agents/other.py ")


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (
            "raise ValueError('FOUNDRY_PROJECT_ENDPOINT is not set.')",
            "export FOUNDRY_PROJECT_ENDPOINT=https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT"
            " AZURE_AI_MODEL_DEPLOYMENT_NAME=DEPLOYMENT",
        ),
        ("raise ValueError('SHOP_URL is missing: say where it is.')", "export SHOP_URL=VALUE"),
        ("raise ValueError('SHOP_KEY is not set.')", "echo SHOP_KEY=$(azd env get-value SHOP_KEY) >> .env"),
        ("raise ValueError('SHOP_URL is odd')", "hostedagent run main.py"),
        ("{}['SHOP_URL']", "hostedagent run main.py"),
        ("raise ValueError('HOME is not set')", "hostedagent run main.py"),
    ],
)
def test_a_variable_that_the_agent_lacks_is_to_be_set(code: str, fix: str, bench: Bench) -> None:
    bench.azd(SHOP_KEY="s3cret")
    bench.write("main.py", code)

    (found,) = bench.findings("agent")

    assert found.fix == fix


def test_the_model_is_set_from_the_azd_environment_that_has_it(bench: Bench) -> None:
    bench.azd(AZURE_AI_MODEL_DEPLOYMENT_NAME="gpt-deployed")
    bench.process["FOUNDRY_PROJECT_ENDPOINT"] = ENDPOINT

    (found,) = bench.findings("environment")

    assert (
        found.fix == "echo AZURE_AI_MODEL_DEPLOYMENT_NAME=$(azd env get-value AZURE_AI_MODEL_DEPLOYMENT_NAME) >> .env"
    )


def test_what_the_agent_prints_is_no_finding(bench: Bench) -> None:
    bench.edit("main.py", "import os\n", "import os\nprint('{}')\n")

    assert bench.findings("agent") == []


def test_the_agent_is_loaded_with_the_values_of_the_env_file(bench: Bench) -> None:
    bench.write(".env", "SHOP=open\n")
    bench.edit("main.py", "import os\n", "import os\nassert os.environ['SHOP'] == 'open'\n")

    assert bench.findings("agent") == []


@pytest.mark.parametrize("text", ["[]", "services: 1", "services: {a: {host: azure.ai.agent, env: [], protocols: 1}}"])
def test_an_azure_yaml_of_any_shape_gives_findings_and_no_traceback(text: str, bench: Bench) -> None:
    bench.write("azure.yaml", text)

    assert bench.findings("azure.yaml") != []
    assert bench.findings("environment") == []


@pytest.mark.parametrize(
    "line",
    [
        "RUN <<EOF",
        "RUN true && \\\n    --mount=type=secret,id=a true",
        "COPY --link main.py .",
        "COPY --chmod=755 main.py .",
        "ADD --checksum=sha256:00 https://example.com/a .",
        "FROM --platform=$BUILDPLATFORM python:3.13-slim AS other",
    ],
)
def test_each_syntax_that_needs_buildkit_is_found(line: str, bench: Bench) -> None:
    bench.edit("Dockerfile", "WORKDIR /build\n", f"WORKDIR /build\n{line}\n")

    assert [found.code for found in bench.findings("Dockerfile")] == ["docker.buildkit"]


@pytest.mark.parametrize("text", ["", "FROM", "RUN \\", "# syntax=docker/dockerfile:1\nFROM scratch"])
def test_a_dockerfile_of_any_shape_gives_findings_and_no_traceback(text: str, bench: Bench) -> None:
    bench.write("Dockerfile", text)

    assert bench.findings("Dockerfile") != []
