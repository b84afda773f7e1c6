"""Routes that work on the input of a create request without a turn: count its tokens, and compact it.

`POST /responses/input_tokens` counts the tokens that a request would give to the model. `POST /responses/compact`
compacts a conversation into the input of a new one. Both import their work when they are used: Agent Framework's
compaction would be a fifth of the time in which this package starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from msgspec import Struct
from starlette.routing import Route

from hostedagent.engine.engine import Engine
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, read_as, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange

_NOTHING: Final[Json] = "-"
"""In place of an input that is left out, which a turn must have and these routes need not."""


class InputRoutes(Struct, frozen=True):
    """Counts and compacts input."""

    engine: Engine
    trust: Trust

    def routes(self, prefix: str) -> Sequence[Route]:
        """The routes below a path."""
        return [
            Route(f"{prefix}/responses/compact", Endpoint(self.trust, self._compact), methods=["POST"]),
            Route(f"{prefix}/responses/input_tokens", Endpoint(self.trust, self._count), methods=["POST"]),
        ]

    async def _count(self, exchange: Exchange) -> None:
        from hostedagent.engine.input import count_input_tokens

        count = await count_input_tokens(self.engine, await self._read(exchange))
        await exchange.json({"object": "response.input_tokens", "input_tokens": count})

    async def _compact(self, exchange: Exchange) -> None:
        from hostedagent.engine.input import compact_conversation

        engine = self.engine
        engine.check_accepts()
        engine.check_compacts("input")
        request = await self._read(exchange)
        permit = await engine.limiter.acquire(exchange.receive)
        work = asyncio.ensure_future(compact_conversation(engine, request))

        def leave() -> None:
            work.cancel()

        try:
            with exchange.watched(leave):
                await asyncio.wait({work})
                if not work.cancelled():
                    await exchange.json(work.result())
        finally:
            work.cancel()
            permit.abandon()

    async def _read(self, exchange: Exchange) -> TurnRequest:
        """The body, which is that of a create request with optional input."""
        refuse_media(exchange.headers)
        return replace(await read_as(self._parsed, exchange.receive, self.engine.options), caller=exchange.caller)

    def _parsed(self, fields: Mapping[str, Json]) -> TurnRequest:
        has_input = fields.get("input") not in (None, "", [])
        request = TurnRequest.parse(fields if has_input else {**fields, "input": _NOTHING}, self.engine.options.caller)
        return request if has_input else replace(request, input=())
