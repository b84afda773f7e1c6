"""`POST /chat/completions`: a turn of the agent for clients that speak nothing else. Nothing of it is stored."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, cast

from starlette.routing import Route

from hostedagent.engine.context import TurnContext
from hostedagent.engine.recorded import RecordedResponses, RecordedTurn
from hostedagent.errors import FAILURE_MESSAGES, InvalidRequest, TurnFailed
from hostedagent.identity import enter_context
from hostedagent.options import HostOptions
from hostedagent.outcomes import ErrorCode, Failed
from hostedagent.protocol.chat_completions import ChatAnswer, create_body, usage_of
from hostedagent.protocol.request.normalization import normalize_body
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, read_fields, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange

SendStream: TypeAlias = Callable[[Exchange, AsyncGenerator[bytes]], Awaitable[None]]
"""Sends frames as they come, with comments while none come."""

_DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatRoutes:
    """Serves Chat Completions.

    Args:
        responses: Runs the turns.
        options: Limits and caller policy.
        trust: Which headers are believed.
        stream: Sends a stream.
    """

    responses: RecordedResponses
    options: HostOptions
    trust: Trust
    stream: SendStream

    def routes(self, prefix: str) -> Sequence[Route]:
        """The routes below a path."""
        return [Route(f"{prefix}/chat/completions", Endpoint(self.trust, self._create), methods=["POST"])]

    async def _create(self, exchange: Exchange) -> None:
        engine = self.responses.engine
        engine.check_accepts()
        refuse_media(exchange.headers)
        fields = await read_fields(exchange.receive, self.options)
        request = self._parsed(fields)
        context = await engine.accept(replace(request, caller=exchange.caller), exchange.receive)
        try:
            context.turn = replace(self.responses.identify(context.request), door="chat_completions")
            enter_context(context)
            await self._run(exchange, context, fields)
        finally:
            await engine.abandon(context)

    def _parsed(self, fields: Mapping[str, Json]) -> TurnRequest:
        body = normalize_body(create_body(fields), has_nulls=False)
        try:
            return TurnRequest.parse(body, self.options.caller)
        except InvalidRequest as error:
            if not (error.param or "").startswith("input"):
                raise
            # The items were made of the messages, and have other numbers.
            raise InvalidRequest(f"messages: {error.message}", param="messages") from None

    async def _run(self, exchange: Exchange, context: TurnContext, fields: Mapping[str, Json]) -> None:
        answer = ChatAnswer(context.request.options.tools.names)
        turn = await self.responses.start(context)
        leaving = asyncio.create_task(exchange.disconnects(turn.disconnect), name="hostedagent-client")
        try:
            if context.request.stream:
                wanted = cast("Mapping[str, Json]", fields.get("stream_options") or {})
                counts = bool(wanted.get("include_usage"))
                await self.stream(exchange, _chunks(turn, context, answer, counts=counts))
                return
            async with aclosing(turn.events()) as events:
                async for event in events:
                    answer.take(event)
            if answer.response.get("status") == "cancelled":
                return
            if (failed := _failure(answer)) is not None:
                raise failed
            choice: dict[str, Json] = {
                "index": 0,
                "message": answer.message(),
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
            whole = {"choices": [choice], "usage": usage_of(answer.response)}
            await exchange.json({**_head(answer.response, "chat.completion"), **whole})
        finally:
            leaving.cancel()


async def _chunks(
    turn: RecordedTurn, context: TurnContext, answer: ChatAnswer, *, counts: bool
) -> AsyncGenerator[bytes]:
    """The frames of a streamed answer."""
    head: dict[str, Json] = {}
    async with aclosing(turn.events()) as events:
        async for event in events:
            context.flow.taken()
            delta = answer.take(event)
            if not head:
                head = _head(answer.response, "chat.completion.chunk") | ({"usage": None} if counts else {})
                yield _chunk(head, {"role": "assistant", "content": ""})
            if delta is not None:
                yield _chunk(head, delta)
    if (failed := _failure(answer)) is not None:
        yield _frame(failed.body())
    else:
        yield _chunk(head, {}, answer.finish_reason)
        if counts:
            yield _frame({**head, "choices": list[Json](), "usage": usage_of(answer.response)})
    yield _DONE


def _head(response: Mapping[str, Json], kind: str) -> dict[str, Json]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(16)}",
        "object": kind,
        "created": int(response.get("created_at") or time.time()),
        "model": response.get("model") or "",
    }


def _chunk(head: Mapping[str, Json], delta: Mapping[str, Json], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _frame({**head, "choices": [choice]})


def _frame(value: dict[str, Json]) -> bytes:
    return b"data: %b\n\n" % event_data(value)


def _failure(answer: ChatAnswer) -> TurnFailed | None:
    status = answer.response.get("status")
    if status not in ("failed", "cancelled"):
        return None
    error = cast("Mapping[str, str]", answer.response.get("error") or {})
    code = cast("ErrorCode", error.get("code", "server_error"))
    return TurnFailed(Failed(code, error.get("message", FAILURE_MESSAGES["server_error"])))
