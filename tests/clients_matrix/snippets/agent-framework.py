import asyncio

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient

agent = Agent(
    OpenAIChatClient(model="any", base_url="http://127.0.0.1:8088", api_key="unused"), instructions="Be brief."
)

print(asyncio.run(agent.run("What is the weather in Oslo?")).text)
