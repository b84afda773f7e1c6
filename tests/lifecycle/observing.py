"""What can be seen of a turn that has ended: on the wire, by GET, and in the next prompt."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from hostedagent.testing import EventLog, InProcessClient
from tests.lifecycle.subject import Subject
from tests.lifecycle.table import Mode

TERMINAL = ("response.completed", "response.failed", "response.incomplete")


def body_of(word: str, mode: Mode, place: str, serves: str) -> dict[str, Any]:
    """The request of a turn."""
    return {
        "input": word,
        "conversation": place,
        "stream": mode in ("stream", "background+stream"),
        "background": mode.startswith("background"),
        "metadata": {"serves": serves},
    }


def last_told(mode: Mode, body: bytes) -> str:
    """The last that a body says, whole or cut off."""
    if mode in ("sync", "background"):
        return json.loads(body)["status"] if body else "cut off"
    log = EventLog.from_sse(body.rpartition(b"\n\n")[0] + b"\n\n", complete=False)
    if not log.types or log.types[-1] not in TERMINAL:
        return "cut off"
    return str(log.status)


def text_of(response: dict[str, Any], *, without: list[dict[str, Any]]) -> str:
    items: Iterable[dict[str, Any]] = (item for item in response["output"] if item not in without)
    parts: Iterable[dict[str, Any]] = (part for item in items for part in item.get("content", ()))
    return "".join(part.get("text", "") for part in parts)


def shown(response: dict[str, Any], word: str) -> str:
    """The status, and how much of the output is there."""
    cut = [item for item in response["output"] if item["status"] == "incomplete"]
    text = text_of(response, without=cut if response["status"] == "completed" else [])
    assert f"re {word}".startswith(text), text
    kept = "no output" if not response["output"] else "whole output" if text == f"re {word}" else "output so far"
    also = " and the interrupted item" if response["status"] == "completed" and cut else ""
    return f"{response['status']}, {kept}{also}"


async def settled(client: InProcessClient, response_id: str) -> dict[str, Any]:
    """The response, once it says that it has ended."""
    while True:
        reply = await client.get(f"/responses/{response_id}")
        if reply.status == 200 and reply.json()["status"] != "in_progress":
            return reply.json()
        assert reply.status in (200, 404), reply.text  # A response that runs in front of its caller is not shown.


async def next_prompt(
    client: InProcessClient, subject: Subject, word: str, place: str, serves: str
) -> Literal["whole", "nothing"]:
    """What the next turn of the conversation shows of a turn."""
    before = len(subject.model.calls)
    reply = await client.post("/responses", json=body_of("next", "sync", place, serves))
    assert (reply.status, reply.json()["status"]) == (200, "completed"), reply.text
    transcript = subject.model.calls[before].transcript
    assert transcript[:2] == ["user: hello", "assistant: re hello"], transcript
    assert transcript[-1] == "user: next", transcript
    between = transcript[2:-1]
    if not between:
        return "nothing"
    assert between == [f"user: {word}", f"assistant: re {word}"], transcript
    return "whole"
