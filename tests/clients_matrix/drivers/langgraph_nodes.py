"""A LangGraph graph as its tutorial builds it: a model node, a `ToolNode`, and an edge back."""

from collections.abc import Sequence
from typing import Any

from driver import main
from langchain_features import Features
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


def build(model: Any, *, tools: Sequence[Any] = (), system_prompt: str | None = None) -> Any:
    bound = model.bind_tools(tools) if tools else model
    prompt = [{"role": "system", "content": system_prompt}] if system_prompt else []

    def call(state: MessagesState) -> Any:
        return {"messages": [bound.invoke([*prompt, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call)
    graph.add_node("tools", ToolNode(list(tools)))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


main(Features(build).table())
