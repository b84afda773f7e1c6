"""The peer's `InvocationsHostServer` and ours, side by side: the same agent or workflow, the same requests.

`AGENT` and `WORKFLOW` have the requests; where an answer differs, `differs` says in what, and docs/doors.md has the
sentence.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.doors import Invocations, Turn
from hostedagent.testing import InProcessClient, serve
from tests.doors.peer import Answer, Counting, Send, build, play, play_twice, rows_of

ROOT = Path(__file__).parents[2]
DOCUMENT = " ".join((ROOT / "docs/doors.md").read_text(encoding="utf-8").split())
S1 = "/invocations?agent_session_id=s1"
NAMED = {"x-agent-invocation-id": "inv-1"}


@dataclass(frozen=True, kw_only=True)
class Played:
    """A request, and the sentence of the document about what differs in its answer; none where nothing does."""

    request: Mapping[str, Any]
    differs: str = ""


AGENT = {
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


W = "/invocations?agent_session_id="
WORKFLOW = {
    "a start": Played(request={"path": f"{W}w1", "body": {"input": {"title": "a", "questions": 0}}}),
    "a start, streamed": Played(
        request={"path": f"{W}w1", "body": {"input": {"title": "b", "questions": 0}, "stream": True}}
    ),
    "questions": Played(request={"path": f"{W}w2", "body": {"input": {"title": "c", "questions": 2}}}),
    "a start while questions are open": Played(
        request={"path": f"{W}w2", "body": {"input": {"title": "d", "questions": 0}}}
    ),
    "an answer to no question": Played(request={"path": f"{W}w2", "body": {"responses": {"none": True}}}),
    "both answers": Played(request={"path": f"{W}w2", "answers": {"0": True, "1": False}}),
    "both answers again": Played(request={"path": f"{W}w2", "answers": {"0": True, "1": False}}),
    "a start after that": Played(request={"path": f"{W}w2", "body": {"input": {"title": "e", "questions": 0}}}),
    "questions, streamed": Played(
        request={"path": f"{W}w3", "body": {"input": {"title": "f", "questions": 2}, "stream": True}}
    ),
    "an answer in another session": Played(request={"path": f"{W}w4", "answers": {"2": True, "3": True}}),
    "an answer of the wrong type": Played(
        request={"path": f"{W}w3", "answers": {"2": "perhaps", "3": True}},
    ),
    "both answers, streamed": Played(
        request={"path": f"{W}w3", "body": {"stream": True}, "answers": {"2": True, "3": True}}
    ),
    "questions once more": Played(request={"path": f"{W}w5", "body": {"input": {"title": "g", "questions": 2}}}),
    "one of two answers": Played(
        request={"path": f"{W}w5", "answers": {"4": True}},
        differs="The questions of a workflow may be answered one by one",
    ),
    "a start of the wrong type": Played(request={"path": f"{W}w6", "body": {"input": {"title": "h"}}}),
    "a failure": Played(request={"path": f"{W}w7", "body": {"input": {"title": "fail", "questions": 0}}}),
    "a start after a failure": Played(
        request={"path": f"{W}w7", "body": {"input": {"title": "i", "questions": 0}}},
        differs="A session continues after a failed turn of a workflow",
    ),
    "a failure in a stream": Played(
        request={"path": f"{W}w8", "body": {"input": {"title": "fail", "questions": 0}, "stream": True}}
    ),
}

TWICE = {"path": f"{S1}2", "body": {"message": "wait"}}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, list[Answer]]]:
    """The peer's answers to all requests."""
    python = Path(os.environ.get("HOSTEDAGENT_PEER") or ROOT / ".venv-peer/bin/python")
    if not python.is_file():
        pytest.skip("no peer: CONTRIBUTING.md has the commands that install it in .venv-peer")
    home = tmp_path_factory.mktemp("home")
    given = {"agent": requests_in(AGENT), "workflow": requests_in(WORKFLOW), "twice": TWICE}
    done = subprocess.run(
        [python, ROOT / "tests/doors/peer.py"],
        input=json.dumps(given),
        env={**os.environ, "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout.splitlines()[-1])


def requests_in(played: Mapping[str, Played]) -> list[Mapping[str, Any]]:
    return [one.request for one in played.values()]


def sending(client: InProcessClient) -> Send:
    async def send(
        method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        reply = await client.request(method, path, headers=headers, content=body)
        return reply.status, dict(reply.headers), reply.body

    return send


def different(
    played: Mapping[str, Played], theirs: list[Answer], mine: list[Answer], read: Callable[[Answer], Any]
) -> dict[str, tuple[Any, Any]]:
    """The requests whose answers differ, with what the peer's clients read of them."""
    rows = zip(played, map(read, theirs), map(read, mine), strict=True)
    return {name: (one, other) for name, one, other in rows if one != other}


def documented(played: Mapping[str, Played]) -> set[str]:
    """The requests whose answers may differ, because the document says so."""
    assert [one.differs for one in played.values() if one.differs not in DOCUMENT] == []
    return {name for name, one in played.items() if one.differs}


def shape(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What clients of the peer read of an answer: not the words of errors, and not ids that are new each time."""
    headers, body = answer["headers"], answer["body"]
    shown: dict[str, Any] = {"status": answer["status"], "type": headers["content-type"].partition(";")[0]}
    for name in ("x-agent-invocation-id", "x-agent-session-id"):
        value = headers.get(name)
        shown[name] = value if value in ("s1", "s2", "inv-1") else value is not None
    if shown["type"] == "text/event-stream":
        *deltas, end = rows_of(answer)
        shown["text"] = "".join(row["text"] for row in deltas)
        shown["end"] = (end["type"], end.get("session_id"))
        if end["type"] == "error":
            shown["end"] = (*shown["end"], end["status"])
    elif answer["status"] == 200:
        shown["response"] = json.loads(body).get("response")
    else:
        assert "error" in json.loads(body)
    return shown


def frames_of(output: list[Any]) -> list[dict[str, Any]]:
    """The items of a workflow's response in the form of the peer, without the ids of its executors."""
    frames: list[dict[str, Any]] = []
    for item in output:
        if item["type"] == "message":
            frames.append({"type": "output", "data": json.loads(item["content"][0]["text"])})
        elif item["type"] == "function_call":
            asked = json.loads(item["arguments"])["request"]
            frames.append({"type": "request_info", "data": asked, "request_id": item["call_id"]})
    return frames


def whole(response: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"output": frames_of(response["output"])}


async def streamed(turn: Turn) -> AsyncGenerator[bytes]:
    async with aclosing(turn.events()) as events:
        async for event in events:
            if event["type"] == "response.output_item.done":
                for frame in frames_of([event["item"]]):
                    yield f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n".encode()
            elif event["type"] == "response.failed":
                yield b'event: error\ndata: {"status": 500}\n\n'
            elif event["type"] == "response.completed":
                end = {"session_id": turn.request.sandbox_session_id}
                yield f"event: done\ndata: {json.dumps(end)}\n\n".encode()


def frames(answer: Answer) -> Any:
    """What clients of the peer read of a workflow's answer: not the ids, which are new each time."""
    read = [{name: row.get(name) for name in ("type", "data", "session_id", "status")} for row in rows_of(answer)]
    return answer["status"], read


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_what_the_peer_serves_is_served_and_each_difference_is_in_the_document(
    peer: Mapping[str, list[Answer]], driver: Any
) -> None:
    async with serve(AgentHost(Counting(), doors=[Invocations()], driver=driver).app) as client:  # pyright: ignore[reportArgumentType]
        answers = await play(requests_in(AGENT), sending(client))

    differ = different(AGENT, peer["agent"], answers, shape)
    assert differ.keys() == documented(AGENT), differ


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_workflow_answers_with_the_frames_of_the_peer_if_the_application_renders_them(
    peer: Mapping[str, list[Answer]], driver: Any
) -> None:
    door = Invocations(answer=whole, render=streamed)
    async with serve(AgentHost(build, doors=[door], driver=driver).app) as client:
        answers = await play(requests_in(WORKFLOW), sending(client))

    differ = different(WORKFLOW, peer["workflow"], answers, frames)
    assert differ.keys() == documented(WORKFLOW), differ


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("queues", [False, True])
async def test_a_second_invocation_in_a_session_waits_only_in_a_queue(
    peer: Mapping[str, list[Answer]], queues: bool, driver: Any
) -> None:
    agent, options = Counting(), HostOptions(when_busy="queue" if queues else "reject")
    host = AgentHost(agent, doors=[Invocations()], driver=driver, options=options)  # pyright: ignore[reportArgumentType]
    async with serve(host.app) as client:
        answers = await play_twice(TWICE, sending(client), agent, waits=queues)

    theirs, mine = [[shape(one) for one in given] for given in (peer["twice"], answers)]
    assert [one["status"] for one in theirs] == [200, 200] and mine[0] == theirs[0]
    assert mine[1] == theirs[1] if queues else mine[1]["status"] == 409
    assert "A second invocation in a session whose first is still running gets a 409" in DOCUMENT
