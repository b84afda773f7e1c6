"""The test kit: an offline model, a scripted agent, an in-process client, a strict event log, the stores' contracts.

Everything is imported on first use: pytest loads the plugin of this package in every run, so importing it must cost
nothing and must work where the optional packages (`openai`, `httpx`) are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.lazy import lazy

if TYPE_CHECKING:
    from .client import EventStream, InProcessClient, Reply, serve
    from .event_log_contract import EventLogContract
    from .events import EventLog
    from .gate import Gate
    from .offline import ModelCall, OfflineChatClient, offline_model
    from .openai import httpx_transport, openai_client
    from .responses_contract import ResponseRepositoryContract
    from .scripted import AgentCall, ScriptedAgent
    from .signals_contract import SignalsContract
    from .store_contract import StoreContract

__all__ = [
    "AgentCall",
    "EventLog",
    "EventLogContract",
    "EventStream",
    "Gate",
    "InProcessClient",
    "ModelCall",
    "OfflineChatClient",
    "Reply",
    "ResponseRepositoryContract",
    "ScriptedAgent",
    "SignalsContract",
    "StoreContract",
    "httpx_transport",
    "offline_model",
    "openai_client",
    "serve",
]

_HOME = {
    "AgentCall": ".scripted",
    "EventLog": ".events",
    "EventLogContract": ".event_log_contract",
    "EventStream": ".client",
    "Gate": ".gate",
    "InProcessClient": ".client",
    "ModelCall": ".offline",
    "OfflineChatClient": ".offline",
    "Reply": ".client",
    "ResponseRepositoryContract": ".responses_contract",
    "ScriptedAgent": ".scripted",
    "SignalsContract": ".signals_contract",
    "StoreContract": ".store_contract",
    "httpx_transport": ".openai",
    "offline_model": ".offline",
    "openai_client": ".openai",
    "serve": ".client",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
