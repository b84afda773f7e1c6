import asyncio

from agent_framework.foundry import FoundryAgent
from azure.identity.aio import DefaultAzureCredential


async def main() -> None:
    async with DefaultAzureCredential() as credential:
        agent = FoundryAgent(
            project_endpoint="https://<account>.services.ai.azure.com/api/projects/<project>",
            agent_name="<agent>",
            credential=credential,
            allow_preview=True,
        )
        print((await agent.run("What is the weather in Oslo?")).text)


asyncio.run(main())
