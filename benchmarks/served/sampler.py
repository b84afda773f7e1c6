"""Where the CPU of a process goes: a look at the stack every few milliseconds of CPU time, from inside the process.

It runs a system's own script: `sampler.py served/ours.py`. SIGUSR1 begins, SIGUSR2 ends and writes the counts to
`looks.json` in the process's own home. A look belongs to the innermost frame that somebody owns: the standard library
counts for whoever called it, the event loop's own frames for the server. Looks come between bytecodes of the main
thread, so time inside C code (JSON, sockets) counts for the line that called it. No call is slowed down, as a tracing
profiler would.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

INTERVAL: Final = 0.001

# The first that fits; what fits none is passed over, and its caller is asked.
_OWNERS: Final = (
    ("ours", ("/hostedagent/",)),
    ("peer", ("/agent_framework_foundry_hosting/", "/agent_framework_hosting")),
    ("agent framework", ("/agent_framework/",)),
    ("SDK", ("/azure/ai/agentserver/", "/azure/core/")),
    ("telemetry", ("/opentelemetry/",)),
    (
        "server and event loop",
        (
            "/hypercorn/",
            "/uvicorn/",
            "/granian/",
            "/starlette/",
            "/h11/",
            "/uvloop/",
            "/wsproto/",
            "/asyncio/base_events.py",
            "/asyncio/events.py",
            "/asyncio/runners.py",
            "/asyncio/selector_events.py",
            "/asyncio/unix_events.py",
            "/asyncio/streams.py",
            "/asyncio/transports.py",
            "/selectors.py",
        ),
    ),
    ("model", ("/served/",)),
)
_ROOTS: Final = ("/site-packages/", f"{sysconfig.get_path('stdlib')}/", "/src/", "/benchmarks/")

_counts: Counter[str] = Counter()
_lines: Counter[str] = Counter()
_known: dict[str, str | None] = {}


def _owner(path: str) -> str | None:
    try:
        return _known[path]
    except KeyError:
        # Only what is below a root counts: the checkout itself may lie in a folder of any name.
        tail = "/" + next((path.rpartition(root)[2] for root in _ROOTS if root in path), path)
        found = next((owner for owner, parts in _OWNERS if any(part in tail for part in parts)), None)
        _known[path] = found
        return found


def _look(_signal: int, frame: FrameType | None) -> None:
    while frame is not None:
        code = frame.f_code
        owner = _owner(code.co_filename)
        if owner is not None:
            _counts[owner] += 1
            _lines[f"{owner} | {'/'.join(Path(code.co_filename).parts[-2:])} {code.co_qualname}"] += 1
            return
        frame = frame.f_back
    _counts["server and event loop"] += 1


def _begin(*_: Any) -> None:
    _counts.clear()
    _lines.clear()
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


def _end(*_: Any) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    out = Path.home() / "looks.json"
    part = out.with_suffix(".part")
    part.write_text(json.dumps({"owners": _counts, "lines": _lines}))
    part.rename(out)


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _look)
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    signal.siginterrupt(signal.SIGPROF, False)
    script = Path(sys.argv[1])
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
