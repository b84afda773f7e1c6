"""A local HTTPS server of the Foundry storage API: stored responses and state stores, with faults on demand.

`async with Emulator() as emulator` gives an endpoint that the SDK's own storage classes talk to, so that tests and
local runs exercise the hosted path without a project in the cloud. It keeps everything in memory and identifies users
only by the call id of a request, as the service does. It accepts any token, so do not keep real data in it.

Everything is imported on first use, because only an emulator needs the web server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.lazy import lazy

if TYPE_CHECKING:
    from .callers import call_id_for, user_of
    from .credential import EmulatorCredential
    from .faults import Fault, Faults
    from .request_log import LoggedRequest, RequestLog
    from .server import Emulator

__all__ = [
    "Emulator",
    "EmulatorCredential",
    "Fault",
    "Faults",
    "LoggedRequest",
    "RequestLog",
    "call_id_for",
    "user_of",
]

_HOME = {
    "Emulator": ".server",
    "EmulatorCredential": ".credential",
    "Fault": ".faults",
    "Faults": ".faults",
    "LoggedRequest": ".request_log",
    "RequestLog": ".request_log",
    "call_id_for": ".callers",
    "user_of": ".callers",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
