"""`POST /responses/compact`: compacts a conversation into the input of a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.routing import Route

from hostedagent.engine.compaction import compact_conversation
from hostedagent.engine.engine import Engine
from hostedagent.options import HostOptions
from hostedagent.server.admission import Trust, read_fields, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange
from hostedagent.server.input_tokens import request_of


@dataclass(frozen=True, slots=True)
class CompactionRoutes:
    """Compacts conversations.

    Args:
        engine: The engine of the agent.
        options: Limits and caller policy.
        trust: Which headers are believed.
    """

    engine: Engine
    options: HostOptions
    trust: Trust

    def routes(self, prefix: str) -> Sequence[Route]:
        """The routes below a path."""
        return [Route(f"{prefix}/responses/compact", Endpoint(self.trust, self._compact), methods=["POST"])]

    async def _compact(self, exchange: Exchange) -> None:
        engine, policy = self.engine, self.options.caller
        engine.check_accepts()
        engine.check_compacts("input")
        refuse_media(exchange.headers)
        request = request_of(await read_fields(exchange.receive, self.options), policy)
        request = replace(request, caller=exchange.caller)
        permit = await engine.limiter.acquire(exchange.receive)
        work = asyncio.ensure_future(compact_conversation(engine, request, trusts_roles=policy.trusts_roles))

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
