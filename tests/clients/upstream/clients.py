"""The real Agent Framework clients, pointed at a fake upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from agent_framework.anthropic import AnthropicClient
from agent_framework.foundry import FoundryChatClient
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from .server import Upstream

MODEL = "model-1"


def responses_client(upstream: Upstream) -> OpenAIChatClient:
    """The client of the OpenAI Responses API."""
    return OpenAIChatClient(model=MODEL, api_key="k", base_url=f"{upstream.url}/v1")


def foundry_client(upstream: Upstream) -> FoundryChatClient:
    """The client of a Foundry project, which speaks the Responses API."""
    return FoundryChatClient(project_client=cast("Any", Project(f"{upstream.url}/v1")), model=MODEL)


@dataclass(frozen=True)
class Project:
    """In place of an `AIProjectClient`, of which the client asks for one thing."""

    url: str

    def get_openai_client(self, **_: object) -> AsyncOpenAI:
        """The client of the project's models."""
        return AsyncOpenAI(api_key="k", base_url=self.url, max_retries=0)


def chat_completion_client(upstream: Upstream) -> OpenAIChatCompletionClient:
    """The client of the OpenAI Chat Completions API."""
    return OpenAIChatCompletionClient(model=MODEL, api_key="k", base_url=f"{upstream.url}/v1")


def anthropic_client(upstream: Upstream) -> AnthropicClient:
    """The client of the Anthropic Messages API."""
    sdk = AsyncAnthropic(api_key="k", base_url=upstream.url, max_retries=0)
    return AnthropicClient(model=MODEL, anthropic_client=sdk)
