"""`hostedagent doctor`: checks this machine and a project, and prints what repairs each finding."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hostedagent.cli.group import CommandLineError
from hostedagent.cli.loader import USUAL_NAMES
from hostedagent.cli.progress import progress

if TYPE_CHECKING:
    from hostedagent.cli.doctor.project import Project
    from hostedagent.cli.doctor.report import Report
    from hostedagent.cli.doctor.rules import Finding


@click.command()
@click.argument("project", metavar="[PROJECT]", default=".")
@click.option(
    "--agent",
    metavar="MODULE_OR_FILE[:NAME]",
    help=f"What is served.  [default: what azure.yaml starts, else {USUAL_NAMES}, the first that exists]",
)
@click.option("--online", "is_online", is_flag=True, help="Ask Azure for a token and for the roles.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def command(project: str, agent: str | None, is_online: bool, is_json: bool) -> int:
    """Check this machine and a project, and print what repairs each finding.

    PROJECT is its folder, by default the current one. Nothing is changed, and Azure is not asked unless --online is
    given. The exit code is 0 without errors, 1 with an error, and 2 when the command line is wrong.
    """
    from hostedagent.cli.doctor.project import Project

    folder = Path(project)
    if not folder.is_dir():
        raise CommandLineError(f"{folder} is not a folder.")
    with progress(f"Checking {folder.resolve()}"):
        report = examine(Project.read(folder, wanted=agent), is_online=is_online)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(report.json() if is_json else report.text(columns))
    return report.exit_code


def examine(project: Project, *, is_online: bool = False) -> Report:
    """Do all checks."""
    from hostedagent.cli.doctor.environment import variables
    from hostedagent.cli.doctor.machine import table
    from hostedagent.cli.doctor.report import Report

    return Report(
        folder=str(project.folder.resolve()),
        findings={name: list(check(project)) for name, check in checks(is_online=is_online).items()},
        packages=table(),
        variables=variables(project),
        unchecked=unchecked(project),
    )


def unchecked(project: Project) -> Mapping[str, str]:
    """Checks that do not apply to this project, with the reason."""
    from hostedagent.cli.doctor.access import PROJECT_ID
    from hostedagent.platform import ENDPOINT_VARIABLE

    has_image = project.text("Dockerfile") is not None
    known = {**project.local, **project.azd}
    reasons = {
        "lock": "" if has_image else "there is no Dockerfile, whose image installs it",
        "Dockerfile": "" if has_image else "there is none",
        "tools": "" if project.config is not None else "there is no azure.yaml that can be read",
        "credentials": "" if project.local.get(ENDPOINT_VARIABLE) else f"{ENDPOINT_VARIABLE} is not set here",
        "roles": "" if known.get(PROJECT_ID) else f"{PROJECT_ID} is not known; azd provision sets it",
    }
    return {name: reason for name, reason in reasons.items() if reason}


def checks(*, is_online: bool = False) -> Mapping[str, Callable[[Project], Iterator[Finding]]]:
    """The table of checks, in the order in which they are printed."""
    from hostedagent.cli.doctor import access, agent, azure_yaml, dockerfile, environment, machine, online

    return {
        "python": machine.python_version,
        "packages": machine.packages,
        "agent": agent.loads,
        "lock": agent.lock,
        "port": machine.port,
        "home": machine.home,
        "azure.yaml": azure_yaml.azure_yaml,
        "Dockerfile": dockerfile.dockerfile,
        "environment": environment.environment,
        "tools": access.tools,
        "credentials": online.token if is_online else access.credentials,
        "roles": online.roles if is_online else access.roles,
    }
