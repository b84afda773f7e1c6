"""`GET /models`: the one model of a host, for clients that list models before they send a request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostedagent.agents.run import model_name
from hostedagent.errors import NotFound
from hostedagent.protocol.types import Json
from hostedagent.server.exchange import Endpoint, Exchange

if TYPE_CHECKING:
    from hostedagent.server.admission import Trust

_UNNAMED: Final = "agent"


def model_id(agent: object, *, allow_model: bool) -> str:
    """The id of the one model: what a client may send as `model`.

    If callers may choose the model, it is the name of the client's model; otherwise the agent's name.
    """
    name = getattr(agent, "name", None)
    named = name if isinstance(name, str) and name else _UNNAMED
    return (model_name(agent) or named) if allow_model else named


def model_routes(model: str, trust: Trust, prefix: str) -> Sequence[Route]:
    """The routes of a host, which list and describe its one model."""
    shown = _shown(model)

    async def listing(exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [shown]})

    async def retrieve(exchange: Exchange) -> None:
        wanted = exchange.request.path_params["model"]
        if wanted != model:
            raise NotFound(f"There is no model {wanted!r} here. Use {model!r}.", param="model")
        await exchange.json(shown)

    return (
        Route(f"{prefix}/models", Endpoint(trust, listing), methods=["GET"]),
        Route(f"{prefix}/models/{{model:path}}", Endpoint(trust, retrieve), methods=["GET"]),
    )


def group_models(names: Iterable[str]) -> Route:
    """The route at the root of a group, which lists the agents under their names."""
    shown = [_shown(name) for name in names]

    async def listing(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": shown})

    return Route("/models", listing, methods=["GET"])


def _shown(name: str) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": int(time.time()), "owned_by": "hostedagent"}
