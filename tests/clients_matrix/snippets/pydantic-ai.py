from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:8088", api_key="unused")
agent = Agent(OpenAIResponsesModel("any", provider=provider), instructions="Be brief.")

result = agent.run_sync("What is the weather in Oslo?")
print(result.output)
