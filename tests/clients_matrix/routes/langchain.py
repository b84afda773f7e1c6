"""LangChain's `ChatOpenAI` through `/chat/completions`. Prints a line for each way that worked."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url=sys.argv[1], api_key="k", model="any", use_responses_api=False, max_retries=0)


@tool
def clock(city: str) -> str:
    """Tell the time in a city."""
    return f"noon in {city}"


whole = model.invoke([("system", "Be kind."), ("user", "Hello.")], stop=["END"])
assert whole.content and whole.usage_metadata["total_tokens"] > 0, whole
print("whole")

pieces = list(model.stream("Hello.", stream_usage=True))
assert len(pieces) > 2 and "".join(str(piece.content) for piece in pieces), pieces
assert any(piece.usage_metadata for piece in pieces), pieces
print("streamed")

messages = [HumanMessage('What does the clock say in city "Rome"?')]
asked = model.bind_tools([clock]).invoke(messages)
assert [call["name"] for call in asked.tool_calls] == ["clock"], asked
results = [ToolMessage(clock.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
answer = model.bind_tools([clock]).invoke([*messages, asked, *results])
assert "noon" in answer.content, answer
print("tools")
