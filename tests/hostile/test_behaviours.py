"""Each hostile behaviour ends its own turn, with the same outcome in each mode, and harms nothing else."""

import json
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Literal

import httpx
import pytest

from tests.hostile.raising import PLACES, SECRET, end_of
from tests.hostile.serving import serving
from tests.hostile.shapes import ENDS_WELL, FAILS, SHAPES
from tests.patience import PATIENCE

Mode = Literal["whole", "stream", "background"]

MODES: Final[tuple[Mode, ...]] = ("whole", "stream", "background")
RAISING: Final = [(place, kind) for place, row in PLACES.items() for kind in row.kinds]
AT_ONCE: Final = 12


@dataclass(slots=True)
class Observed:
    """What the turns came to, what the process logged, and how it ended."""

    ends: dict[tuple[str, Mode], str] = field(default_factory=dict[tuple[str, Mode], str])
    doors: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    texts: list[str] = field(default_factory=list[str])
    log: str = ""
    code: int | None = None
    healthy: str = ""


def _status(response: Mapping[str, Any]) -> str:
    assert (response["status"] == "failed") == bool(response.get("error"))
    return str(response["status"])


def _streamed(http: httpx.Client, body: Mapping[str, Any]) -> tuple[str, str]:
    with http.stream("POST", "/responses", json={**body, "stream": True}) as reply:
        text = reply.read().decode()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    ends = [row["type"] for row in events if row["type"] in ("response.completed", "response.failed", "error")]
    assert ends == [f"response.{events[-1]['response']['status']}"], ends
    return _status(events[-1]["response"]), text


def _whole(http: httpx.Client, body: Mapping[str, Any]) -> tuple[str, str]:
    reply = http.post("/responses", json=body)
    return (_status(reply.json()) if reply.status_code == 200 else str(reply.status_code)), reply.text


def _background(http: httpx.Client, body: Mapping[str, Any]) -> tuple[str, str]:
    reply = http.post("/responses", json={**body, "background": True})
    deadline = time.monotonic() + PATIENCE
    while reply.status_code == 200 and reply.json()["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline, f"the turn of {body} never ends"
        reply = http.get(f"/responses/{reply.json()['id']}")
    return (_status(reply.json()) if reply.status_code == 200 else str(reply.status_code)), reply.text


ASKING: Final = {"whole": _whole, "stream": _streamed, "background": _background}


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Observed]:
    seen, log = Observed(), tmp_path_factory.mktemp("hostile") / "log"
    with serving(log) as (url, process):
        with httpx.Client(base_url=url, timeout=PATIENCE) as http, ThreadPoolExecutor(AT_ONCE) as pool:

            def ask(case: tuple[str, dict[str, str]], mode: Mode) -> None:
                try:
                    end, text = ASKING[mode](http, {"input": "hi", "metadata": case[1]})
                except (httpx.HTTPError, AssertionError, ValueError, KeyError, IndexError) as error:
                    end, text = repr(error), ""
                seen.ends[case[0], mode] = end
                seen.texts.append(text)

            # The agent that is deaf to its cancellation comes early, and has ended when the process is stopped.
            cases = [(shape, {"shape": shape}) for shape in reversed(SHAPES)]
            cases += [(f"{kind} in {place}", {"place": place, "kind": kind}) for place, kind in RAISING]
            for future in [pool.submit(ask, case, mode) for case, mode in product(cases, MODES)]:
                future.result()
            seen.healthy = _whole(http, {"input": "hi"})[0] if process.poll() is None else "the process ended"
        process.terminate()
        seen.code = process.wait(PATIENCE)
        seen.log = log.read_text()
        yield seen


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("place", "kind"), RAISING)
def test_what_code_raises_ends_its_turn_at_most(observed: Observed, place: str, kind: str, mode: Mode) -> None:
    assert observed.ends[f"{kind} in {place}", mode] == end_of(place, kind)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_an_agent_yields_ends_its_turn_in_the_same_way_in_each_mode(observed: Observed, shape: str) -> None:
    ends = {observed.ends[shape, mode] for mode in MODES}

    assert len(ends) == 1, {mode: observed.ends[shape, mode] for mode in MODES}
    assert ends <= ({"failed"} if shape in FAILS else {"completed"} if shape in ENDS_WELL else {"failed", "completed"})


def test_only_a_signal_ends_the_process(observed: Observed) -> None:
    assert observed.healthy == "completed"
    assert observed.code == 0


def test_callers_never_see_the_text_of_an_error(observed: Observed) -> None:
    assert not [text for text in observed.texts if SECRET in text]


def test_the_log_holds_no_text_of_an_error(observed: Observed) -> None:
    # Python itself prints what ends a thread of the application.
    lines = [line for line in observed.log.splitlines() if " ERROR " in line or " WARNING " in line]

    assert len(lines) > len(RAISING)
    assert not [line for line in lines if SECRET in line]
    assert "never retrieved" not in observed.log
    assert "Exception in ASGI application" not in observed.log
