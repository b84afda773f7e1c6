"""The peer's `InvocationsHostServer` and ours, side by side: the same agent, the same requests.

`PLAYED` has each request with what is to be equal; where an answer differs, `differs` says in what, and docs/doors.md
has the sentence.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.doors import Invocations
from hostedagent.testing import serve
from tests.doors.peer import Counting, play

ROOT = Path(__file__).parents[2]
DOCUMENT = " ".join((ROOT / "docs/doors.md").read_text(encoding="utf-8").split())
S1 = "/invocations?agent_session_id=s1"
NAMED = {"x-agent-invocation-id": "inv-1"}


@dataclass(frozen=True, kw_only=True)
class Played:
    """A request, and the sentence of the document about what differs in its answer; none where nothing does."""

    request: Mapping[str, Any]
    differs: str = ""


PLAYED = {
    "a message": Played(request={"path": S1, "body": {"message": "hi"}}),
    "its session": Played(request={"path": S1, "body": {"message": "again"}}),
    "options": Played(request={"path": S1, "body": {"message": "hi", "options": {"max_tokens": 7}}}),
    "a stream": Played(request={"path": S1, "body": {"message": "hi", "stream": True}}),
    "another session": Played(request={"path": "/invocations?agent_session_id=s2", "body": {"message": "hi"}}),
    "no session": Played(request={"path": "/invocations", "body": {"message": "hi"}}),
    "an id": Played(request={"path": S1, "body": {"message": "hi"}, "headers": NAMED}),
    "an invalid id": Played(
        request={"path": S1, "body": {"message": "hi"}, "headers": {"x-agent-invocation-id": "a b"}}
    ),
    "an id again": Played(
        request={"path": S1, "body": {"message": "hi"}, "headers": NAMED},
        differs="An invocation id that was already used gets a 409",
    ),
    "a failure": Played(request={"path": S1, "body": {"message": "fail"}}),
    "a failure in a stream": Played(request={"path": S1, "body": {"message": "fail", "stream": True}}),
    "no message": Played(request={"path": S1, "body": {}}),
    "a message that is a number": Played(
        request={"path": S1, "body": {"message": 1}}, differs="`message` may be any value that a workflow starts with"
    ),
    "a stream that is a text": Played(request={"path": S1, "body": {"message": "hi", "stream": "yes"}}),
    "options that are a list": Played(request={"path": S1, "body": {"message": "hi", "options": []}}),
    "options of the agent": Played(request={"path": S1, "body": {"message": "hi", "options": {"tools": []}}}),
    "options of the host": Played(request={"path": S1, "body": {"message": "hi", "options": {"store": False}}}),
    "options of a provider": Played(
        request={"path": S1, "body": {"message": "hi", "options": {"seed": 1}}},
        differs="other `options` than these are refused",
    ),
    "an unknown field": Played(
        request={"path": S1, "body": {"message": "hi", "mesage": "hi"}}, differs="an unknown field is refused"
    ),
    "no JSON": Played(request={"path": S1, "raw": "{"}),
    "no object": Played(request={"path": S1, "raw": "[]"}),
    "an earlier one": Played(
        request={"path": "/invocations/inv-1", "method": "GET"},
        differs="`GET /invocations/{id}`, cancellation and the OpenAPI document are served",
    ),
    "the end of one": Played(request={"path": "/invocations/none/cancel"}),
    "the document": Played(
        request={"path": "/invocations/docs/openapi.json", "method": "GET"},
        differs="`GET /invocations/{id}`, cancellation and the OpenAPI document are served",
    ),
}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The peer's answers to all requests."""
    python = Path(os.environ.get("HOSTEDAGENT_PEER") or ROOT / ".venv-peer/bin/python")
    if not python.is_file():
        pytest.skip("no peer: CONTRIBUTING.md has the commands that install it in .venv-peer")
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [python, ROOT / "tests/doors/peer.py"],
        input=json.dumps([one.request for one in PLAYED.values()]),
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout.splitlines()[-1])


async def ours(driver: Any) -> list[dict[str, Any]]:
    agent: Any = Counting(name="counting")
    async with serve(AgentHost(agent, doors=[Invocations()], driver=driver).app) as client:

        async def send(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            reply = await client.request(method, path, headers=headers, content=body)
            return reply.status, dict(reply.headers), reply.body

        return await play([one.request for one in PLAYED.values()], send)


def shape(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What clients of the peer read of an answer: not the words of errors, and not ids that are new each time."""
    headers, body = answer["headers"], answer["body"]
    shown: dict[str, Any] = {"status": answer["status"], "type": headers["content-type"].partition(";")[0]}
    for name in ("x-agent-invocation-id", "x-agent-session-id"):
        value = headers.get(name)
        shown[name] = value if value in ("s1", "s2", "inv-1") else value is not None
    if shown["type"] == "text/event-stream":
        blocks = [block.split("\n") for block in body.strip().split("\n\n")]
        events = [(kind[7:], json.loads(data[6:])) for kind, data in blocks]
        shown["text"] = "".join(data["text"] for kind, data in events if kind == "delta")
        shown["end"] = (events[-1][0], events[-1][1].get("session_id"), events[-1][1].get("status", 200))
        if shown["end"][0] == "done":
            shown["end"] = shown["end"][:2]
    elif answer["status"] == 200:
        shown["response"] = json.loads(body).get("response")
    else:
        assert "error" in json.loads(body)
    return shown


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_what_the_peer_serves_is_served_and_each_difference_is_in_the_document(
    peer: list[dict[str, Any]], driver: str
) -> None:
    answers = await ours(driver)

    differ = {
        name: (shape(theirs), shape(mine))
        for name, theirs, mine in zip(PLAYED, peer, answers, strict=True)
        if shape(theirs) != shape(mine)
    }
    assert differ.keys() == {name for name, one in PLAYED.items() if one.differs}, differ
    assert [one.differs for one in PLAYED.values() if one.differs not in DOCUMENT] == []
