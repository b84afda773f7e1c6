"""Agent Framework: a `FoundryAgent`, which finds the hosted agent below its project's endpoint."""

import time
from typing import Any

from agent_framework.foundry import FoundryAgent
from agent_framework_features import Features
from azure.core.credentials import AccessToken
from driver import Case, absent, main

NO_TOOLS = "it never sends tools: on the platform, only the hosted agent can have tools"


class Credential:
    """Gives the token that the platform would check."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is open."""


def build(case: Case, **fields: Any) -> FoundryAgent:
    return FoundryAgent(
        project_endpoint=f"{case.url}/api/projects/weather",
        agent_name="weather-agent",
        credential=Credential(),
        allow_preview=True,
        **fields,
    )


main({**Features(build).table(), "client_tools": absent(NO_TOOLS), "both_tools": absent(NO_TOOLS)})
