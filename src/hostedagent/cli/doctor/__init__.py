"""Check this machine and a project, and print what repairs each finding.

Nothing is changed, and nothing is asked of Azure unless --online is given. The exit code is 0 when everything is fine
or there are only warnings, 1 when there is an error, and 2 when the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hostedagent.cli.loader import USUAL_NAMES

if TYPE_CHECKING:
    from hostedagent.cli.doctor.project import Project
    from hostedagent.cli.doctor.report import Report
    from hostedagent.cli.doctor.rules import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doctor`."""
    parser.add_argument("project", metavar="PROJECT", nargs="?", default=".", help="its folder (default: this one)")
    parser.add_argument(
        "--agent",
        metavar="MODULE_OR_FILE[:NAME]",
        help=f"what is served (default: what azure.yaml starts, else {USUAL_NAMES}, the first that is there)",
    )
    parser.add_argument("--online", action="store_true", help="ask Azure for a token and for the roles")
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Check, and print; 1 when something is wrong."""
    from hostedagent.cli.doctor.project import Project

    folder = Path(arguments.project)
    if not folder.is_dir():
        print(f"hostedagent: {folder} is no folder.", file=sys.stderr)
        return 2
    report = examine(Project.read(folder, wanted=arguments.agent), is_online=arguments.online)
    print(report.json() if arguments.json else report.text())
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
    )


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
