"""Agent Framework: an `Agent` on `OpenAIChatClient`."""

from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient
from agent_framework_features import Features
from driver import Case, main


def build(case: Case, **fields: Any) -> Agent:
    return Agent(client=OpenAIChatClient(model="any", api_key="k", base_url=case.url), **fields)


main(Features(build).table())
