"""Runs one client: serves its hosts, starts its driver, and compares what both sides saw with what they must see."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from .clients import DRIVERS, Client
from .environments import Environment
from .features import FEATURES, Contains, Observed, problems
from .served import path, serving

Mode = Literal["plain", "streamed"]
MODES: Final[tuple[Mode, ...]] = ("plain", "streamed")
Verdict = Literal["yes", "no", "absent"]
PATIENCE: Final = 240.0
"""Seconds that a driver may take for a case."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. `absent`: the client has no such thing, and `why` says so."""

    feature: str
    mode: str
    verdict: Verdict
    why: str = ""

    def __str__(self) -> str:
        return f"{self.feature} {self.mode}: {self.verdict}" + (f": {self.why}" if self.why else "")


async def play(client: Client, features: Sequence[str] = ()) -> list[Outcome]:
    """Try every feature, or only those named, with a client that is installed."""
    cases = [(feature, mode) for feature in features or FEATURES for mode in MODES]
    async with serving(cases, client.options) as (url, observed):
        asked = [
            {
                "feature": FEATURES[feature].played_as or feature,
                "streamed": mode == "streamed",
                "url": url + path(feature, mode),
            }
            for feature, mode in cases
        ]
        reports = await _drive(client, asked)
        return [_judge(client, *case, reports.get(url + path(*case)), observed[case]) for case in cases]


def _judge(client: Client, feature: str, mode: str, report: Any, observed: Observed) -> Outcome:
    wanted = FEATURES[feature]
    if report is None:
        return Outcome(feature, mode, "no", "the driver reported nothing")
    if "absent" in report:
        return Outcome(feature, mode, "absent", report["absent"])
    if "error" in report:
        found = [report["error"], *observed.upstream.failures]
    elif report["result"] != (result := _result(client, feature)):
        found = [f"the client got {report['result']!r}, not {result!r}", *observed.upstream.failures]
    else:
        loss = client.loses.get(feature)
        if loss is not None:
            wanted = replace(wanted, check=loss.check)
        lost = loss.lines if loss is not None else ()
        found = [*problems(wanted, observed, is_exact=not client.adds_to_prompt, lost=lost)]
    return Outcome(feature, mode, "no" if found else "yes", "; ".join(found))


def _result(client: Client, feature: str) -> Any:
    """What the client must return."""
    if feature == "failure" and client.hides_error_codes:
        return Contains("failed")
    return FEATURES[feature].result


async def _drive(client: Client, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Run the driver and read a line of JSON for each case, by the URL of its host."""
    reports: dict[str, Any] = {}
    async with _started(client) as process:
        assert process.stdin is not None and process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        process.stdin.write(json.dumps(cases).encode())
        process.stdin.close()
        note = ""
        try:
            async for report in _reports(process):
                reports[report["url"]] = report
        except TimeoutError:
            process.kill()
            note = f"\nThe driver was killed after {PATIENCE:g} s without a report."
        await process.wait()
        error = (await errors).decode()[-4000:] + note
    if len(reports) < len(cases):
        print(f"{client.title}: {error}", file=sys.stderr)
    return reports


async def _reports(process: asyncio.subprocess.Process) -> AsyncGenerator[Any]:
    """The reports of a driver as it writes them."""
    assert process.stdout is not None
    while line := await asyncio.wait_for(process.stdout.readline(), PATIENCE):
        if line.startswith(b'{"feature"'):
            yield json.loads(line)


@asynccontextmanager
async def _started(client: Client) -> AsyncGenerator[asyncio.subprocess.Process]:
    environment = client.environment
    # Node resolves packages from where a script is, so the drivers are copied into the environment while they run.
    with TemporaryDirectory(prefix="drivers-", dir=environment.path) as folder:
        shutil.copytree(DRIVERS, folder, dirs_exist_ok=True)
        script = Path(folder) / client.driver
        runtime = _runtime(environment, script)
        yield await asyncio.create_subprocess_exec(
            str(runtime),
            str(script),
            cwd=folder,
            env=_variables(environment.binaries, folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,  # Bytes of one report.
        )


def _runtime(environment: Environment, script: Path) -> Path:
    if script.suffix == ".mjs":
        return environment.binaries / "node"
    # A command of npm is driven by the Python of the tests, which needs nothing for it.
    return environment.binaries / "python" if environment.python else Path(sys.executable)


def _variables(binaries: Path, home: str) -> dict[str, str]:
    """An environment without this user's settings, in which every call that leaves the machine fails at once."""
    kept = {name: os.environ[name] for name in ("LANG", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    nowhere = "http://127.0.0.1:9"
    return {
        **kept,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "HOME": home,
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
        "OPENAI_API_KEY": "k",
    }
