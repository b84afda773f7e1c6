from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="any", base_url="http://127.0.0.1:8088", api_key="unused", use_responses_api=True)
agent = create_agent(model, system_prompt="Be brief.")

result = agent.invoke({"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]})
print(result["messages"][-1].text)
