"""A request as it is kept for another process: its body, and what came with it outside of the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.options import CallerPolicy
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json


def keep(request: TurnRequest, body: Mapping[str, Json], **more: Json) -> bytes:
    """What a process needs to parse a request again.

    Args:
        request: The request.
        body: Its body.
        **more: What is kept with it.
    """
    return encode(
        {
            "body": body,
            "session_id": request.sandbox_session_id,
            "client_headers": request.client_headers,
            "platform_user": request.caller.platform_user,
            "scope": asdict(request.scope),
            "isolation": asdict(request.isolation),
            **more,
        }
    )


def caller_of(kept: Mapping[str, Json]) -> Caller:
    """Whose request was kept."""
    scope, isolation = Scope(**kept["scope"]), IsolationKeys(**kept["isolation"])
    return Caller(scope, isolation, platform_user=kept["platform_user"])


def restore(kept: Mapping[str, Json], caller: Caller, response_id: str, policy: CallerPolicy) -> TurnRequest:
    """The request, parsed again.

    Raises:
        InvalidRequest: The policy of this process does not allow it.
    """
    return replace(
        TurnRequest.parse(kept["body"], policy),
        caller=caller,
        response_id=response_id,
        sandbox_session_id=kept["session_id"],
        client_headers=kept["client_headers"],
    )
