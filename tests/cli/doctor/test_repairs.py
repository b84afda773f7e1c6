"""What doctor prints repairs what it names: each fix is carried out, and the finding is gone.

A fix that is a command is run by a shell. One that says what to write in a file is written there, by the few forms that
such fixes have.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from hostedagent.protocol.values import fields_of, rows_of
from tests.cli.doctor.bench import Bench, Case
from tests.cli.doctor.cases import CASES
from tests.patience import PATIENCE

NOT_RUN = {
    "python.": "installs a Python",
    "packages.": "installs packages",
    "lock.": "asks a package index; tests/cli/test_init.py makes a lock",
    "tools.": "installs azd, or signs in",
    "credentials.": "signs in",
    "roles.": "changes a subscription",
    "port.taken": "starts a server",
    "port.ours": "starts a server",
    "agent.": "shows what is wrong with the user's own code",
    "yaml.missing": "runs init with uv: tests/cli/doctor/test_bringing.py",
    "yaml.infra": "runs init with uv: tests/cli/doctor/test_bringing.py",
    "yaml.no_dockerfile": "runs init with uv: tests/cli/doctor/test_bringing.py",
    "yaml.legacy": "asks git",
    "yaml.not_set": "asks azd",
    "yaml.secret": "asks azd",
    "env.endpoint": "asks azd",
    "env.differs": "asks azd",
    "env.model": "asks azd",
}
"""Commands that are not run here, by the beginning of their rule's code, and why."""

IN_WORDS = {
    "yaml.broken": "says where the mistake is",
    "yaml.agent_name": "there are several names in azure.yaml; the message says which",
    "yaml.unexpanded": "only the user knows the value",
    "yaml.reserved": "says what to remove",
    "yaml.variable_name": "says how to spell it",
    "yaml.connection": "says which signs to write",
    "docker.broken": "says where the mistake is",
}
"""Fixes that a person must read, and why."""


def _is_run(case: Case) -> bool:
    return not any(case.code.startswith(name) for name in {**NOT_RUN, **IN_WORDS})


REPAIRED = [case for case in CASES if _is_run(case)]


@pytest.mark.parametrize("case", REPAIRED, ids=lambda case: case.code)
def test_a_printed_fix_repairs_what_it_names(case: Case, bench: Bench) -> None:
    case.breaks(bench)
    with ExitStack() as sockets:
        for taken in bench.sockets:
            sockets.enter_context(taken)
        found = [row for row in bench.findings(case.check) if row.code == case.code]
        assert found
        for row in found:
            repair(bench, row.fix)
        assert case.code not in [row.code for row in bench.findings(case.check)]


def repair(bench: Bench, fix: str) -> None:
    """Do what a fix says."""
    for pattern, act in FORMS:
        if (match := re.fullmatch(pattern, fix)) is not None:
            act(bench, *match.groups())
            return
    ended = subprocess.run(
        ["sh", "-c", f"{fix}\nenv -0"],
        cwd=bench.folder,
        env={**bench.process, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    after = dict(line.split("=", 1) for line in ended.stdout.split("\0") if "=" in line)
    bench.process.update({name: value for name, value in after.items() if name in ("PORT", "HOME")})
    for name in set(bench.process) - set(after):
        del bench.process[name]


def _set_in_yaml(bench: Bench, entry: str, *, below: str = "") -> None:
    """Set a key where it is already, else below the key that the fix names, else in the agent's service."""
    config: dict[str, Any] = yaml.safe_load((bench.folder / "azure.yaml").read_text(encoding="utf-8"))
    ((key, value),) = yaml.safe_load(entry).items()
    service = next(row for row in config["services"].values() if row.get("host") == "azure.ai.agent" or "docker" in row)
    if below:
        maps = [next((row[below] for row in _maps(config) if below in row), service)]
    else:
        maps = [row for row in _maps(config) if key in row] or [service]
    if isinstance(value, dict) and isinstance(maps[0].get(key), dict):
        maps[0][key].update(value)
    else:
        maps[0][key] = value
    bench.write("azure.yaml", yaml.safe_dump(config, sort_keys=False))


def _below(bench: Bench, below: str, entry: str) -> None:
    words = entry.split(": ", 2)
    nested = f"{words[0]}:\n  {words[1]}: {words[2]}" if len(words) == 3 and "{" not in entry else entry
    _set_in_yaml(bench, nested, below=below)


def _maps(value: object) -> Iterator[dict[str, Any]]:
    fields = fields_of(value)
    if fields:
        yield cast("dict[str, Any]", fields)
    for row in (*fields.values(), *rows_of(value)):
        yield from _maps(row)


def _lines(bench: Bench) -> list[str]:
    return (bench.folder / "Dockerfile").read_text(encoding="utf-8").splitlines()


def _write_lines(bench: Bench, lines: list[str]) -> None:
    bench.write("Dockerfile", "\n".join([*lines, ""]))


def _line_without(bench: Bench, number: str, word: str) -> None:
    lines = _lines(bench)
    line = lines[int(number) - 1]
    lines[int(number) - 1] = "" if f"COPY {word} " in line else re.sub(rf"{re.escape(word)}\S*\s*", "", line)
    _write_lines(bench, lines)


def _line_with(bench: Bench, number: str, text: str) -> None:
    lines, old = _lines(bench), r"python:[\d.]+\S*" if text.startswith("python:") else r"--host[\s\",]+[\w.:]+"
    new = text if text.startswith("python:") else '--host", "0.0.0.0'
    lines[int(number) - 1], count = re.subn(old, new, lines[int(number) - 1])
    assert count
    _write_lines(bench, lines)


def _before_line(bench: Bench, number: str, text: str) -> None:
    lines = _lines(bench)
    lines.insert(int(number) - 1, text)
    _write_lines(bench, lines)


def _before_last(bench: Bench, first: str, second: str) -> None:
    lines = _lines(bench)
    _write_lines(bench, [*lines[:-1], first, second, lines[-1]])


def _after_copy(bench: Bench, text: str) -> None:
    lines = _lines(bench)
    last = max(n for n, line in enumerate(lines) if line.startswith("COPY") and "--from" not in line)
    _write_lines(bench, [*lines[: last + 1], text, *lines[last + 1 :]])


def _from(bench: Bench, image: str) -> None:
    _write_lines(bench, [re.sub(r"FROM --platform\S+ .*", f"FROM {image}", line) for line in _lines(bench)])


FORMS = [
    (r"In azure\.yaml write below (.+?): (\S+: .*)", _below),
    (r"In azure\.yaml write: (.*)", _set_in_yaml),
    (r"In the Dockerfile write line (\d+) without ([^\s,]+?)(?:\.|, or create .*)", _line_without),
    (r"In the Dockerfile write line (\d+) with (.*)", _line_with),
    (r"In the Dockerfile write before line (\d+): (.*)", _before_line),
    (r"In the Dockerfile write before its last instruction: (.*), and then: (.*)", _before_last),
    (r"In the Dockerfile write after the last COPY of the build: (.*)", _after_copy),
    (r"In the Dockerfile write: FROM (.*)", _from),
]
"""How a fix is worded that says what to write, and how it is carried out."""
