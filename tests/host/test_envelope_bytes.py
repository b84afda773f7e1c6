"""The envelope middleware on bytes: which answers it completes, and that all others pass as they are."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from hostedagent.protocol.envelope import complete
from hostedagent.server.agentserver.envelope import Completer
from tests.host.specification import assert_complete

RESPONSE: dict[str, Any] = {
    "id": "caresp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "output": [],
}


def frame(kind: str, **fields: Any) -> bytes:
    event = {"type": kind, "sequence_number": 0, **fields}
    return f"event: {kind}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]


DELTA = frame("response.output_text.delta", delta="response.created\n\nevent: error")
CREATED = frame("response.created", response=RESPONSE)


async def through(
    chunks: Sequence[bytes],
    *,
    kind: bytes = b"application/json",
    status: int = 200,
) -> tuple[dict[str, Any], list[bytes]]:
    """Send an answer in chunks through the middleware; returns the start message and the bodies."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = str(sum(map(len, chunks))).encode()
        headers = [(b"Content-Type", kind), (b"Content-Length", length), (b"x-own", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for n, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": n < len(chunks) - 1})

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app({"type": "http", "method": "POST"}, receive, Completer(send, lambda _, stored: stored))
    return sent[0], [message["body"] for message in sent[1:]]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_json_is_completed_however_it_is_cut(size: int) -> None:
    body = json.dumps(RESPONSE).encode()

    start, sent = await through([body[n : n + size] for n in range(0, len(body), size)])

    assert len(sent) == 1
    assert_complete(json.loads(sent[0]))
    headers = dict(start["headers"])
    assert headers[b"content-length"] == str(len(sent[0])).encode()
    assert b"Content-Length" not in headers
    assert headers[b"x-own"] == b"1"


@pytest.mark.parametrize(
    "body",
    [b'{"object":"list","data":[]}', b'{"id":"x","object":"response","deleted":true}', b"[1]", b'"response"', b"null"],
)
async def test_json_that_is_no_response_passes_as_it_is(body: bytes) -> None:
    _, sent = await through([body])

    assert sent == [body]


async def test_an_error_answer_of_a_status_without_a_code_passes_as_it_is() -> None:
    body = b'{"error": {"message": "no", "type": "t", "code": "c", "param": null}}'

    start, sent = await through([body[:10], body[10:]], status=500)

    assert start["status"] == 500
    assert sent == [body[:10], body[10:]]


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_value"), (404, "not_found"), (409, "conflict")])
async def test_an_error_answer_has_the_one_code_of_its_status(status: int, code: str) -> None:
    body = b'{"error": {"message": "no", "type": "t", "code": "c", "param": null}}'

    start, sent = await through([body[:10], body[10:]], status=status)

    assert start["status"] == status
    assert json.loads(b"".join(sent)) == {"error": {"message": "no", "type": "t", "code": code, "param": None}}


@pytest.mark.parametrize("kind", ["created", "queued", "in_progress", "completed", "incomplete", "failed"])
async def test_every_snapshot_is_completed(kind: str) -> None:
    _, sent = await through([frame(f"response.{kind}", response=RESPONSE)], kind=b"text/event-stream; charset=utf-8")

    (event,) = events(sent[0])
    assert sent[0].startswith(f"event: response.{kind}\ndata: ".encode())
    assert sent[0].endswith(b"}\n\n")
    assert_complete(event["response"])


async def test_what_is_no_snapshot_keeps_its_bytes() -> None:
    chunks = [
        DELTA,
        frame("response.output_item.done", output_index=0, item={"type": "message"}),
        frame("response.function_call_arguments.delta", delta="{"),
        frame("response.created_by_somebody", response=RESPONSE),
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
        b"",
    ]

    _, sent = await through(chunks, kind=b"text/event-stream")

    assert sent == chunks


async def test_each_of_several_frames_in_a_chunk_is_seen() -> None:
    chunk = b": keep-alive\n\n" + DELTA + CREATED + DELTA + frame("response.completed", response=RESPONSE)

    _, sent = await through([DELTA + DELTA, chunk], kind=b"text/event-stream")

    assert sent[0] == DELTA + DELTA
    assert sent[1].startswith(b": keep-alive\n\n" + DELTA + b"event: response.created\n")
    found = events(sent[1])
    assert [event["type"].rpartition(".")[2] for event in found] == ["delta", "created", "delta", "completed"]
    assert_complete(found[1]["response"])
    assert_complete(found[3]["response"])


async def test_an_error_event_speaks_both_dialects() -> None:
    flat = frame("error", code="server_error", message="It broke.", param=None)

    _, sent = await through([flat], kind=b"text/event-stream")

    (event,) = events(sent[0])
    assert event["message"] == "It broke."
    assert event["error"] == {"type": "server_error", "code": "server_error", "message": "It broke.", "param": None}


async def test_text_of_any_language_survives() -> None:
    said: dict[str, Any] = {**RESPONSE, "metadata": {"a": "\u00fc \U0001f600 \u2028"}}

    _, sent = await through([json.dumps(said, ensure_ascii=False).encode()])
    _, streamed = await through([frame("response.completed", response=said)], kind=b"text/event-stream")

    assert json.loads(sent[0])["metadata"] == said["metadata"]
    assert events(streamed[0])[0]["response"]["metadata"] == said["metadata"]
    assert streamed[0].isascii(), "a client that takes U+2028 for the end of a line would cut the event"


def test_what_is_there_stays_and_what_is_null_gets_its_default() -> None:
    full = complete({**RESPONSE, "temperature": 0, "parallel_tool_calls": False, "text": None, "x": 1})

    assert full["temperature"] == 0
    assert full["parallel_tool_calls"] is False
    assert full["text"] == {"format": {"type": "text"}}
    assert full["x"] == 1


def test_nested_objects_are_completed_too() -> None:
    schema: dict[str, Any] = {"type": "json_schema", "name": "n", "schema": {}}
    full = complete(
        {
            **RESPONSE,
            "reasoning": {"effort": "low"},
            "text": {"verbosity": "low", "format": schema},
            "tools": [{"type": "function", "name": "f", "strict": True}, {"type": "web_search"}],
        }
    )

    assert full["reasoning"] == {"effort": "low", "summary": None}
    assert full["text"] == {"verbosity": "low", "format": {"description": None, "strict": False, **schema}}
    assert full["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": True},
        {"type": "web_search"},
    ]


ODD = {**RESPONSE, "metadata": {"a": '{"response": {}, "sequence_number": 5}', "b": "\u2028ä"}}


@pytest.mark.parametrize("between", [{}, {"more": 1}])
async def test_snapshots_of_one_response_as_the_sdk_writes_them_are_each_complete(between: dict[str, Any]) -> None:
    shown = [RESPONSE, RESPONSE, ODD, ODD, {**ODD, "status": "failed"}]
    written: list[dict[str, Any]] = [
        {"type": "response.in_progress", "response": response, **between, "sequence_number": n}
        for n, response in enumerate(shown)
    ]
    frames = [f"event: response.in_progress\ndata: {json.dumps(event)}\n\n".encode() for event in written]

    _, sent = await through(frames, kind=b"text/event-stream")

    assert events(b"".join(sent)) == [{**event, "response": complete(event["response"])} for event in written]
