"""`POST /responses/input_tokens`: how many tokens a request would give to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.routing import Route

from hostedagent.conversation.references import resolve_references
from hostedagent.engine.engine import Engine
from hostedagent.engine.input_tokens import count_input_tokens
from hostedagent.options import CallerPolicy, HostOptions
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, read_fields, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange


def request_of(fields: Mapping[str, Json], policy: CallerPolicy) -> TurnRequest:
    """Parse the body, which is that of a create request with optional input.

    Raises:
        RequestError: A value is invalid or not allowed.
    """
    has_input = fields.get("input") not in (None, "", [])
    request = TurnRequest.parse(fields if has_input else {**fields, "input": _NOTHING}, policy)
    return request if has_input else replace(request, input=())


_NOTHING: Final[Json] = "-"
"""In place of an input that is left out, which a turn must have and a count need not."""


@dataclass(frozen=True, slots=True)
class InputTokenRoutes:
    """Counts input.

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
        return [Route(f"{prefix}/responses/input_tokens", Endpoint(self.trust, self._count), methods=["POST"])]

    async def _count(self, exchange: Exchange) -> None:
        refuse_media(exchange.headers)
        fields = await read_fields(exchange.receive, self.options)
        request = replace(request_of(fields, self.options.caller), caller=exchange.caller)
        request = await resolve_references(request, self.engine.store, exchange.caller)
        count = await count_input_tokens(self.engine, request, trusts_roles=self.options.caller.trusts_roles)
        await exchange.json({"object": "response.input_tokens", "input_tokens": count})
