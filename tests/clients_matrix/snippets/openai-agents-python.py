from openai import AsyncOpenAI

from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled

set_tracing_disabled(True)
client = AsyncOpenAI(base_url="http://127.0.0.1:8088", api_key="unused")
agent = Agent(name="caller", instructions="Be brief.", model=OpenAIResponsesModel("any", client))

result = Runner.run_sync(agent, "What is the weather in Oslo?")
print(result.final_output)
