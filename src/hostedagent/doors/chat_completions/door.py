"""`ChatCompletions`: `POST /chat/completions`, whole and as a stream of chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from hostedagent.doors.chat_completions.chunks import TEXT, Deltas, finish_reason, message_of, usage_of
from hostedagent.doors.chat_completions.messages import create_body
from hostedagent.doors.door import Door
from hostedagent.doors.pieces import Pieces
from hostedagent.doors.questions import failure_of
from hostedagent.engine.hooks import BeforeRun
from hostedagent.failures import TurnFailed
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of
from hostedagent.server.exchange import Exchange
from hostedagent.server.turn import TransformEvent, Turn

PATH: Final = "/chat/completions"

_DONE: Final = b"data: [DONE]\n\n"


class ChatCompletions(Door):
    """The Chat Completions protocol, whole and streamed.

    Args:
        path: The path of the endpoint.
        before_run: As for every door.
        transform_event: As for every door.
    """

    name = "chat_completions"
    input_name = "messages"

    def __init__(
        self, path: str = PATH, *, before_run: BeforeRun | None = None, transform_event: TransformEvent | None = None
    ) -> None:
        super().__init__(path, before_run=before_run, transform_event=transform_event)

    def parse(self, fields: Mapping[str, Json], exchange: Exchange) -> Mapping[str, Any]:
        """Parse a request."""
        return create_body(fields)

    def answer(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """The completion.

        Raises:
            TurnFailed: The agent failed, which a completion cannot represent.
        """
        if (failed := failure_of(response)) is not None:
            raise TurnFailed(failed)
        reason = finish_reason(response)
        choice = {"index": 0, "message": message_of(response), "logprobs": None, "finish_reason": reason}
        return {**_head(response, "chat.completion"), "choices": [choice], "usage": usage_of(response)}

    async def render(self, turn: Turn) -> AsyncGenerator[bytes]:
        """The chunks, with the usage in the last one if the client asks for it."""
        counts = bool(fields_of(turn.body.get("stream_options")).get("include_usage"))
        deltas, pieces, head = Deltas(), Pieces(), dict[str, Json]()
        async with aclosing(turn.events()) as events:
            async for event in events:
                delta = deltas.take(event)
                head = head or _head(deltas.response, "chat.completion.chunk") | ({"usage": None} if counts else {})
                if event["type"] == TEXT:
                    yield pieces.frame(TEXT, event["delta"], _chunk, head, {"content": ""})
                elif delta is not None:
                    yield _chunk(head, delta)
        if (failed := failure_of(deltas.response)) is not None:
            yield _frame(TurnFailed(failed).body())
        else:
            yield _chunk(head, {}, finish_reason(deltas.response))
            if counts:
                yield _frame({**head, "choices": list[Json](), "usage": usage_of(deltas.response)})
        yield _DONE


def _head(response: Mapping[str, Json], kind: str) -> dict[str, Json]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(16)}",
        "object": kind,
        "created": int(response.get("created_at") or time.time()),
        "model": response.get("model") or "",
    }


def _chunk(head: Mapping[str, Json], delta: Mapping[str, Json], reason: str | None = None) -> bytes:
    return _frame({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]})


def _frame(value: dict[str, Json]) -> bytes:
    return b"data: %b\n\n" % event_data(value)
