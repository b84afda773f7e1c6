"""The variables, headers and audiences of Microsoft Foundry and of this package, each named once."""

from __future__ import annotations

import os
from typing import Final

# Variables that the platform sets in a hosted agent's container.

HOSTING_VARIABLE: Final = "FOUNDRY_HOSTING_ENVIRONMENT"
"""Not empty inside a hosted agent's container."""

ENDPOINT_VARIABLE: Final = "FOUNDRY_PROJECT_ENDPOINT"
"""The endpoint of the Foundry project."""

SESSION_VARIABLE: Final = "FOUNDRY_AGENT_SESSION_ID"
"""The sandbox session that the container serves."""

INSIGHTS_VARIABLE: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
"""Set where the project has a connection to Application Insights."""

RESERVED_PREFIXES: Final = ("FOUNDRY_", "AGENT_")
"""Prefixes of the platform's own variables; an agent version that declares one is refused."""

# Variables of this package.

DSN_VARIABLE: Final = "HOSTEDAGENT_DSN"
"""The database of `hostedagent run --store postgres` and `hostedagent migrate`."""

# Variables that a project sets, by convention of the public templates.

MODEL_VARIABLE: Final = "AZURE_AI_MODEL_DEPLOYMENT_NAME"
"""The model deployment that an agent uses."""

MODEL_VARIABLES: Final = (
    MODEL_VARIABLE,
    "MICROSOFT_FOUNDRY_MODEL_DEPLOYMENT_NAME",
    "FOUNDRY_MODEL_NAME",
    "FOUNDRY_MODEL",
)
"""All names under which templates keep the model deployment, the preferred one first."""

# Headers.

USER_ID_HEADER: Final = "x-agent-user-id"
"""Protocol 2.0.0: the user's partition key."""

CALL_ID_HEADER: Final = "x-agent-foundry-call-id"
"""Protocol 2.0.0: the credential handle of this one request; never a key."""

USER_ISOLATION_HEADER: Final = "x-agent-user-isolation-key"
"""Protocol 1.0.0: the user's partition key."""

CHAT_ISOLATION_HEADER: Final = "x-agent-chat-isolation-key"
"""Protocol 1.0.0: the chat's partition key."""

RESPONSE_ID_HEADER: Final = "x-agent-response-id"
"""The response id that the platform chose for a request."""

SESSION_ID_HEADER: Final = "x-agent-session-id"
"""The sandbox session that answered."""

DELEGATED_USER_HEADER: Final = "x-ms-user-id"
"""The user for whom a trusted service calls the storage API."""

# Audiences.

DATA_SCOPE: Final = "https://ai.azure.com/.default"
"""The scope of a token for Foundry's data plane: agents, storage, toolboxes."""


def is_hosted() -> bool:
    """Whether the process runs as a Foundry hosted agent."""
    return bool(os.environ.get(HOSTING_VARIABLE))
