"""`azure-ai-projects`: the OpenAI client of a hosted agent, which the platform serves below the project's endpoint."""

import time
from typing import Any

from azure.ai.projects import AIProjectClient
from azure.core.credentials import AccessToken
from driver import Case, main
from openai_features import Features


class Credential:
    """Gives the token that the platform would check."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)


def connect(case: Case) -> tuple[Any, str]:
    project = AIProjectClient(f"{case.url}/api/projects/weather", Credential(), allow_preview=True)
    return project.get_openai_client(agent_name="weather-agent", max_retries=0), "any"


main(Features(connect).table())
