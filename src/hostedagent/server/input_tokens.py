"""`POST /responses/input_tokens`: how many tokens a request would give to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.routing import Route

from hostedagent.conversation.references import resolve_references
from hostedagent.engine.engine import Engine
from hostedagent.engine.input_tokens import count_input_tokens
from hostedagent.options import HostOptions
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, read_fields, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange

_NOTHING: Final[Json] = "-"
"""In place of an input that is left out, which a turn must have and a count need not."""


@dataclass(frozen=True, slots=True)
class InputTokenRoutes:
    """Counts input.

    Args:
        engine: Would run the turn.
        options: Limits and caller policy.
        trust: Which headers are believed.
    """

    engine: Engine
    options: HostOptions
    trust: Trust

    def routes(self, prefix: str) -> Sequence[Route]:
        """The routes below a path."""
        return [Route(f"{prefix}/responses/input_tokens", Endpoint(self.trust, self._count), methods=["POST"])]

    async def _count(self, exchange: Exchange) -> None:
        refuse_media(exchange.headers)
        fields = await read_fields(exchange.receive, self.options)
        has_input = fields.get("input") not in (None, "", [])
        given = fields if has_input else {**fields, "input": _NOTHING}
        request = replace(TurnRequest.parse(given, self.options.caller), caller=exchange.caller)
        request = request if has_input else replace(request, input=())
        request = await resolve_references(request, self.engine.store, exchange.caller)
        count = await count_input_tokens(self.engine, request, trusts_roles=self.options.caller.trusts_roles)
        await exchange.json({"object": "response.input_tokens", "input_tokens": count})
