# pyright: basic, reportMissingImports=false
"""`agent-framework-foundry-hosting`, as its documentation shows it.

On `memory` its sessions are in memory too, which is cheaper for it than what it does by default.
"""

from __future__ import annotations

import settings
from agent_framework import SessionStore
from agent_framework_foundry_hosting import AgentSessionStoreProvider, ResponsesHostServer
from azure.ai.agentserver.responses import FileResponseStore, InMemoryResponseProvider
from model import agent


class SessionsInMemory(AgentSessionStoreProvider):
    def __init__(self):
        super().__init__()
        self.sessions = SessionStore()

    def _get_scoped_store(self, platform_context, scope):
        return self.sessions

    def get_store(self, *, config, platform_context):
        return self.sessions


KEYWORDS = {
    "memory": lambda: {
        "response_store": InMemoryResponseProvider(),
        "agent_session_store_provider": SessionsInMemory(),
    },
    "file": lambda: {"response_store": FileResponseStore(settings.ROOT)},
    "foundry": dict,
}

if __name__ == "__main__":
    ResponsesHostServer(agent(), **KEYWORDS[settings.STORE](), **settings.sdk_keywords()).run(
        host=settings.HOST, port=settings.PORT
    )
