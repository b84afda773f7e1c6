"""The floor: about the bytes of `own`, written by a bare endpoint on the same server, without an agent or storage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import settings
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from told import WORD, Told, last_text

AT_ONCE: Final = 8
"""Words in a delta where the model never waits: as many as `own` joins."""

RESPONSE: Final[dict[str, Any]] = {"id": f"caresp_{'0' * 50}", "object": "response", "filler": "x" * 900}


def frame(number: int, kind: str, **fields: Any) -> bytes:
    event = {"type": f"response.{kind}", "sequence_number": number, **fields}
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def item(text: str, status: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": f"msg_{'0' * 50}", "type": "message", "role": "assistant", "status": status, "content": content}


async def events(told: Told) -> AsyncIterator[bytes]:
    place = {"item_id": f"msg_{'0' * 50}", "output_index": 0, "content_index": 0}
    yield frame(0, "created", response=RESPONSE | {"status": "in_progress", "output": []})
    yield frame(1, "in_progress", response=RESPONSE | {"status": "in_progress", "output": []})
    yield frame(2, "output_item.added", output_index=0, item=item("", "in_progress"))
    yield frame(3, "content_part.added", **place, part={"type": "output_text", "text": ""})
    step = 1 if told.pause else AT_ONCE
    for number in range(0, told.words, step):
        if told.pause:
            await asyncio.sleep(told.pause)
        words = WORD * min(step, told.words - number)
        yield frame(4 + number // step, "output_text.delta", **place, delta=words, logprobs=[])
    whole, last = item(WORD * told.words, "completed"), 4 + told.words
    yield frame(last, "output_text.done", **place, text=WORD * told.words, logprobs=[])
    yield frame(last + 1, "content_part.done", **place, part=whole["content"][0])
    yield frame(last + 2, "output_item.done", output_index=0, item=whole)
    yield frame(last + 3, "completed", response=RESPONSE | {"status": "completed", "output": [whole]})


async def respond(request: Request) -> Response:
    body = json.loads(await request.body())
    told = Told.by(last_text(body))
    if body.get("stream"):
        return StreamingResponse(events(told), media_type="text/event-stream")
    whole = RESPONSE | {"status": "completed", "output": [item(WORD * told.words, "completed")]}
    return Response(json.dumps(whole, separators=(",", ":")), media_type="application/json")


async def readiness(_: Request) -> Response:
    return Response("{}", media_type="application/json")


app = Starlette(routes=[Route("/responses", respond, methods=["POST"]), Route("/readiness", readiness)])

if __name__ == "__main__":
    uvicorn.run(app, host=settings.HOST, port=settings.PORT, log_level="warning", access_log=False)
