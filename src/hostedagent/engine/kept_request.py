"""Serializes a request for another process: its body, and its values from outside the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hostedagent.identity import Caller
from hostedagent.options import CallerPolicy
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json


def keep(request: TurnRequest, body: Mapping[str, Json], **more: Json) -> bytes:
    """The data from which another process can parse the request."""
    return encode(
        {
            "body": body,
            "door": request.door,
            "state": request.state,
            "session_id": request.sandbox_session_id,
            "client_headers": request.client_headers,
            **request.caller.dump(),
            **more,
        }
    )


def restore(kept: Mapping[str, Json], caller: Caller, response_id: str, policy: CallerPolicy) -> TurnRequest:
    """Parse a kept request; raises `InvalidRequest` when the policy of this process does not allow it."""
    return replace(
        TurnRequest.parse(kept["body"], policy),
        caller=caller,
        response_id=response_id,
        sandbox_session_id=kept["session_id"],
        client_headers=kept["client_headers"],
        door=kept.get("door", "responses"),  # Absent in requests that an earlier version has kept.
        state=kept.get("state"),
    )
