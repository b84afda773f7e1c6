"""Each hostile behaviour ends a turn through every door as it ends one through `POST /responses`.

A door renders what an agent yields, so every shape goes through each of them, but for the two that only a timeout ends.
What code raises has become a failed turn before a door sees it, so there each place raises one kind.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.doors.ways import WAYS, Said, Way
from tests.hostile.raising import PLACES, SECRET, end_of
from tests.hostile.serving import serving
from tests.hostile.shapes import ENDS_WELL, FAILS, SHAPES
from tests.hostile.test_behaviours import AT_ONCE, Observed
from tests.patience import PATIENCE

KIND: Final = "BaseException"
TRIED: Final = [name for name in SHAPES if not name.startswith("is ")]
CASES: Final[dict[str, dict[str, str]]] = {
    **{shape: {"shape": shape} for shape in TRIED},
    **{place: {"place": place, "kind": KIND} for place in PLACES},
}


def _ask(http: httpx.Client, way: Way, case: Mapping[str, str]) -> Said:
    conversation = f"conv-{uuid4()}"
    body: dict[str, Any] = way.asks(json.dumps(case), conversation)
    if way.door in ("Responses", "WebSocket"):
        body["metadata"] = case
    if not way.ends:
        reply = http.post(way.path.format(conversation), json=body)
        return way.said(reply.status_code, reply.text)
    url = str(http.base_url.copy_with(scheme="ws", path=way.path))
    with connect(url, max_size=None, open_timeout=PATIENCE, close_timeout=PATIENCE) as socket:
        socket.send(json.dumps(body))
        events = [str(socket.recv(PATIENCE))]
        while json.loads(events[-1])["type"] not in way.ends:
            events.append(str(socket.recv(PATIENCE)))
    return way.said(200, "\n".join(events))


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Observed]:
    seen, log = Observed(), tmp_path_factory.mktemp("doors") / "log"
    with serving(log, "doors") as (url, process):
        with httpx.Client(base_url=url, timeout=PATIENCE) as http, ThreadPoolExecutor(AT_ONCE) as pool:

            def ask(case: str, door: str) -> None:
                try:
                    said = _ask(http, WAYS[door], CASES[case])
                except (httpx.HTTPError, WebSocketException, OSError, ValueError, LookupError) as error:
                    said = Said(repr(error), "")
                seen.doors[case, door] = said.end
                seen.texts.append(said.raw)

            for future in [pool.submit(ask, case, door) for case, door in product(CASES, WAYS)]:
                future.result()
            seen.healthy = "served" if process.poll() is None else "the process ended"
        process.terminate()
        seen.code = process.wait(PATIENCE)
        seen.log = log.read_text()
        yield seen


@pytest.mark.parametrize("shape", TRIED)
def test_what_an_agent_yields_ends_its_turn_in_the_same_way_through_each_door(observed: Observed, shape: str) -> None:
    ends = {door: observed.doors[shape, door] for door in WAYS}

    assert len(set(ends.values())) == 1, ends
    expected = {"failed"} if shape in FAILS else {"completed"} if shape in ENDS_WELL else {"failed", "completed"}
    assert set(ends.values()) <= expected


@pytest.mark.parametrize("door", WAYS)
@pytest.mark.parametrize("place", PLACES)
def test_what_code_raises_ends_its_turn_at_most(observed: Observed, place: str, door: str) -> None:
    assert observed.doors[place, door] == end_of(place, KIND)


def test_no_door_shows_the_text_of_an_error_or_ends_the_process(observed: Observed) -> None:
    assert (observed.healthy, observed.code) == ("served", 0)
    assert not [text for text in observed.texts if SECRET in text]
    lines = [line for line in observed.log.splitlines() if " ERROR " in line or " WARNING " in line]
    assert lines and not [line for line in lines if SECRET in line]
    assert "Exception in ASGI application" not in observed.log
