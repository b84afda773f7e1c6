"""What LangChain's agents and LangGraph's graphs have in common: the model, the tool and the features."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from driver import NOT_SHOWN, NOTES, PIXEL, QUESTION, TURNS, Case, failing, without_link
from langchain_core.messages import ToolMessage, messages_from_dict, messages_to_dict
from langchain_core.tools import StructuredTool, tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

Build = Callable[..., Any]
"""Gives a runnable of `{"messages": [...]}` from a model, tools and a system prompt."""


class Report(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool
def clock(city: str) -> str:
    """Tell the time."""
    return "noon" if city == "Paris" else "unknown"


def decide(request: Any, response_schema: Any = None) -> str:
    """Decide on a refund."""
    return "true" if request == {"order": 7} else "false"


refund = StructuredTool.from_function(decide, name="Refund", args_schema=QUESTION)


def model(case: Case, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(model="any", base_url=case.url, api_key="k", max_retries=0, use_responses_api=True, **fields)


class Features:
    """The features of the matrix, with agents that `build` makes."""

    def __init__(self, build: Build) -> None:
        self.build = build

    def table(self) -> Mapping[str, Callable[[Case], Any]]:
        """The function of each feature."""
        stateless = {
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"summary": "auto"},
        }
        encoded = base64.b64encode(NOTES.encode()).decode()
        return {
            "text": lambda case: self.ask(case, "My name is Ada."),
            "instructions": lambda case: self.ask(case, "Say hello.", system_prompt="Answer in French."),
            "own_tools": lambda case: self.ask(case, "How is the weather in Paris?"),
            "client_tools": lambda case: self.ask(case, "What time is it in Paris?", tools=[clock]),
            "both_tools": lambda case: self.ask(case, "How is the weather in Paris?", tools=[clock]),
            "structured": self.structured,
            "chain": self.chain,
            "consent_item": self.consent_item,
            "history": lambda case: self.conversation(case, TURNS),
            "dumped": lambda case: self.conversation(case, TURNS, kept=self.through_json),
            "approve": lambda case: self.deciding(case, approve=True),
            "reject": lambda case: self.deciding(case, approve=False),
            "standing": self.standing,
            "question": self.question,
            "reasoning": lambda case: self.conversation(case, ["How is the weather in Paris?", "Who am I?"], stateless),
            "image": lambda case: self.ask(
                case,
                [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
                ],
            ),
            "text_file": lambda case: self.ask(
                case,
                [
                    {"type": "file", "base64": encoded, "mime_type": "text/plain", "filename": "notes.txt"},
                    {"type": "text", "text": "Where does Ada live?"},
                ],
            ),
            "failure": lambda case: failing(lambda: self.ask(case, "Hi.")),
            "refusal": lambda case: failing(lambda: self.ask(case, "Hi.", fields={"temperature": 9})),
        }

    def invoke(
        self, case: Case, messages: list[Any], *, fields: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        runnable = self.build(model(case, streaming=case.streamed, **(fields or {})), **options)
        if not case.streamed:
            return runnable.invoke({"messages": messages}, {"recursion_limit": 10})["messages"]
        final: Any = None
        for mode, chunk in runnable.stream(
            {"messages": messages}, {"recursion_limit": 10}, stream_mode=["messages", "values"]
        ):
            final = chunk["messages"] if mode == "values" else final
        return final

    def ask(self, case: Case, question: Any, **options: Any) -> Any:
        return self.invoke(case, [{"role": "user", "content": question}], **options)[-1].text

    def conversation(
        self,
        case: Case,
        questions: Any,
        fields: Mapping[str, Any] | None = None,
        kept: Callable[[Any], Any] = lambda m: m,
    ) -> Any:
        messages: list[Any] = []
        texts = []
        for question in questions:
            messages = kept(self.invoke(case, [*messages, {"role": "user", "content": question}], fields=fields))
            texts.append(messages[-1].text)
        return texts

    def through_json(self, messages: Any) -> Any:
        return messages_from_dict(json.loads(json.dumps(messages_to_dict(messages))))

    def structured(self, case: Case) -> Any:
        bound = model(case, streaming=case.streamed).with_structured_output(Report, method="json_schema")
        return bound.invoke("How is the weather in Paris?").model_dump()

    def chain(self, case: Case) -> Any:
        # `use_previous_response_id` knows only ids that begin with `resp_`, and sends the history for all others.
        texts, fields = [], {}
        for question in TURNS:
            message = self.invoke(case, [{"role": "user", "content": question}], fields=fields)[-1]
            texts.append(message.text)
            fields = self.following(message)
        return texts

    def consent_item(self, case: Case) -> Any:
        raise without_link(self.invoke(case, [{"role": "user", "content": TURNS[0]}]), NOT_SHOWN)

    def question(self, case: Case) -> Any:
        asked = model(case, streaming=case.streamed).bind_tools([refund]).invoke("Refund order 7.")
        [call] = asked.tool_calls
        answer = ToolMessage(refund.invoke(call["args"]), tool_call_id=call["id"])
        return model(case, streaming=case.streamed, **self.following(asked)).bind_tools([refund]).invoke([answer]).text

    @staticmethod
    def following(message: Any) -> Any:
        """The arguments of a model that continues a response by its id."""
        return {"model_kwargs": {"previous_response_id": message.response_metadata["id"]}}

    def deciding(self, case: Case, *, approve: bool) -> Any:
        asked, answer = self.decide(case, approve=approve)
        return {"asked": asked, "text": answer.text}

    def standing(self, case: Case) -> Any:
        asked, answer = self.decide(case, approve=True, always_approve="tool")
        text = self.ask(case, "Delete b.txt.", fields=self.following(answer))
        return {"asked": asked, "texts": [answer.text, text]}

    def decide(self, case: Case, **decision: Any) -> Any:
        # LangChain has no tool for this: its documents show the request and the answer as content blocks.
        first = self.invoke(case, [{"role": "user", "content": "Delete a.txt."}])[-1]
        asked = [block for block in first.content if block["type"] == "mcp_approval_request"]
        answers = [{"type": "mcp_approval_response", "approval_request_id": block["id"], **decision} for block in asked]
        answer = self.invoke(case, [{"role": "user", "content": answers}], fields=self.following(first))[-1]
        return [[block["name"], json.loads(block["arguments"])] for block in asked], answer
