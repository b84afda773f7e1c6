"""An agent whose model is deployed in a Foundry project: on your machine with your sign-in, on Foundry with its own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent_framework import Agent, tool
from agent_framework.foundry import FoundryChatClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import DefaultAzureCredential

from hostedagent import AgentHost, ConfigurationError

ALIASES = {
    "FOUNDRY_PROJECT_ENDPOINT": ("AZURE_AI_PROJECT_ENDPOINT",),
    "AZURE_AI_MODEL_DEPLOYMENT_NAME": (
        "MICROSOFT_FOUNDRY_MODEL_DEPLOYMENT_NAME",
        "FOUNDRY_MODEL_NAME",
        "FOUNDRY_MODEL",
    ),
}
"""The one name of each setting, and what else it is called elsewhere."""

WEATHER = {"Lisbon": "sunny, 24 degrees", "Oslo": "snow, -3 degrees", "Paris": "rain, 12 degrees"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the model is.

    Args:
        endpoint: Of the Foundry project.
        model: The name of the model's deployment in it.
    """

    endpoint: str
    model: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            ConfigurationError: One is missing.
        """
        return cls(
            endpoint=_setting(environment, "FOUNDRY_PROJECT_ENDPOINT"),
            model=_setting(environment, "AZURE_AI_MODEL_DEPLOYMENT_NAME"),
        )


def _setting(environment: Mapping[str, str], name: str) -> str:
    for one in (name, *ALIASES[name]):
        if environment.get(one):
            return environment[one]
    raise ConfigurationError(f"{name} is not set, nor is {' or '.join(ALIASES[name])}: see samples/foundry/README.md.")


@tool
def get_weather(city: Literal["Lisbon", "Oslo", "Paris"]) -> str:
    """Get the weather in a city."""
    return WEATHER[city]


def make_agent(settings: Settings, credential: AsyncTokenCredential) -> Agent:
    return Agent(
        FoundryChatClient(project_endpoint=settings.endpoint, model=settings.model, credential=credential),
        name="weather",
        instructions="You are a friendly assistant. Answer in one sentence.",
        tools=[get_weather],
    )


agent = make_agent(Settings.read(os.environ), DefaultAzureCredential())

if __name__ == "__main__":
    AgentHost(agent).run()
