from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

model = ChatOpenAI(model="any", base_url="http://127.0.0.1:8088", api_key="unused", use_responses_api=True)


def call(state: MessagesState) -> MessagesState:
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("model", call).add_edge(START, "model").compile()

result = graph.invoke({"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]})
print(result["messages"][-1].text)
