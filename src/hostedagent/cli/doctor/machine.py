"""Checks this machine: the versions of Python and packages, the port, and `HOME`.

The tested versions are taken from hostedagent's own metadata: the lower bounds of its requirements, and every newer
version that they allow.
"""

from __future__ import annotations

import platform
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.cli.loader import USUAL
from hostedagent.cli.port import DEFAULT_PORT, PortError, free_port, is_port
from hostedagent.platform import ENDPOINT_VARIABLE

_CLASSIFIER: Final = "Programming Language :: Python :: 3."

PYTHON_RANGE: Final = Rule(
    "python.range",
    "error",
    "This is Python {python}, and hostedagent needs {wanted}.",
    "uv venv --clear --python {newest} && uv sync",
)
PYTHON_UNTESTED: Final = Rule(
    "python.untested",
    "warning",
    "This is Python {python}; hostedagent is tested with {tested}.",
    "uv venv --clear --python {newest} && uv sync",
)
PACKAGE_MISSING: Final = Rule(
    "packages.missing", "error", "{name} is not installed, and hostedagent needs it.", "uv pip install '{requirement}'"
)
PACKAGE_RANGE: Final = Rule(
    "packages.range",
    "error",
    "{name} {installed} is installed; hostedagent is tested with {wanted}.",
    "uv pip install '{requirement}'",
)
FOUNDRY_MISSING: Final = Rule(
    "packages.foundry",
    "error",
    f"{ENDPOINT_VARIABLE} is set, and agent-framework-foundry, which talks to models there, is not installed.",
    "uv pip install agent-framework-foundry",
)
PORT_WRONG: Final = Rule("port.wrong", "error", "PORT is {port!r}, which is not a port.", "export PORT=8088")
PORT_TAKEN: Final = Rule(
    "port.taken", "error", "Port {port} cannot be used: {reason}", "hostedagent run {target} --port 0"
)
PORT_OURS: Final = Rule(
    "port.ours",
    "note",
    "A hostedagent server runs on port {port} already; hostedagent chat talks to it.",
    "hostedagent run {target} --port 0",
)
HOME_CLOSED: Final = Rule(
    "home.closed",
    "error",
    "HOME is {home!r}, where nothing can be written: {reason}. What a session keeps goes there.",
    "export HOME=$(mktemp -d)",
)


@dataclass(frozen=True, slots=True)
class Package:
    """A row of the table: the required version, and the installed one (`None` if there is none)."""

    requirement: Requirement
    installed: str | None

    @property
    def tested(self) -> str:
        """The tested versions, lowest first."""
        return ",".join(sorted((str(one) for one in self.requirement.specifier), reverse=True))

    @property
    def is_tested(self) -> bool:
        """Whether the installed version is a tested one; a pre-release of a tested version counts too."""
        return self.installed is not None and self.requirement.specifier.contains(self.installed, prereleases=True)


def python_version(project: Project) -> Iterator[Finding]:
    """The interpreter."""
    del project
    known = metadata("hostedagent")
    wanted = SpecifierSet(known["Requires-Python"])
    tested = [line.removeprefix(_CLASSIFIER) for line in known.get_all("Classifier") or []]
    minors = [f"3.{minor}" for minor in tested if minor.isdecimal()]
    here = platform.python_version()
    if not wanted.contains(here, prereleases=True):
        yield PYTHON_RANGE.found(python=here, wanted=wanted, newest=minors[-1] if minors else "3")
    elif minors and ".".join(here.split(".")[:2]) not in minors:
        yield PYTHON_UNTESTED.found(python=here, tested=", ".join(minors), newest=minors[-1])


def table() -> list[Package]:
    """The required and the installed versions; of extras, only installed packages."""
    rows: dict[tuple[str, str], Package] = {}  # Two extras may require the same.
    for line in requires("hostedagent") or []:
        requirement = Requirement(line)
        found = _installed(requirement.name)
        is_extra = requirement.marker is not None and "extra" in str(requirement.marker)
        applies = requirement.marker is None or is_extra or requirement.marker.evaluate()
        if applies and (found is not None or not is_extra):
            rows.setdefault((requirement.name, str(requirement.specifier)), Package(requirement, found))
    return list(rows.values())


def packages(project: Project) -> Iterator[Finding]:
    """The packages that hostedagent uses."""
    for row in table():
        name, wanted = row.requirement.name, row.tested
        if row.installed is None:
            yield PACKAGE_MISSING.found(name=name, requirement=f"{name}{wanted}")
        elif not row.is_tested:
            yield PACKAGE_RANGE.found(name=name, installed=row.installed, wanted=wanted, requirement=f"{name}{wanted}")
    if project.local.get(ENDPOINT_VARIABLE) and _installed("agent-framework-foundry") is None:
        yield FOUNDRY_MISSING.found()


def port(project: Project) -> Iterator[Finding]:
    """The port of a run on this machine."""
    text = project.local.get("PORT", str(DEFAULT_PORT))
    if not is_port(text):
        yield PORT_WRONG.found(port=text)
        return
    try:
        free_port("127.0.0.1", int(text))
    except PortError as error:
        if _is_ours(int(text)):
            yield PORT_OURS.found(port=text, target=project.target or USUAL[0])
            return
        yield PORT_TAKEN.found(port=text, reason=error, target=project.target or USUAL[0])


def home(project: Project) -> Iterator[Finding]:
    """Whether `HOME`, or the nearest folder above it that exists, can be written."""
    text = project.local.get("HOME") or str(Path.home())
    place = Path(text)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(dir=place):
            return
    except OSError as error:
        yield HOME_CLOSED.found(home=text, reason=error.strerror or error)


def _is_ours(port: int) -> bool:
    """Whether a hostedagent server answers there, recognised by its error for an unknown route."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostedagent", timeout=2) as answer:
            body = answer.read(4096)
    except urllib.error.HTTPError as error:
        body = error.read(4096)
    except (OSError, ValueError):
        return False
    return b"is not served by this host" in body


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
