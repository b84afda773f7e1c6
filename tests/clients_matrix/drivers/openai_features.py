"""The features of the matrix with any `openai.OpenAI` client."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from driver import NOTES, PIXEL, QUESTION, TURNS, Case, failing
from pydantic import BaseModel


class Report(BaseModel):
    city: str
    degrees: int


CLOCK: Any = {
    "type": "function",
    "name": "clock",
    "description": "Tell the time.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


Connect = Callable[[Case], tuple[Any, str]]
"""Gives the client for a case, and the model to name."""


class Features:
    """The features, with the clients that `connect` gives."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect

    def table(self) -> Mapping[str, Callable[[Case], Any]]:
        """The function of each feature."""
        return {
            "text": self.text,
            "instructions": self.instructions,
            "own_tools": self.own_tools,
            "client_tools": self.client_tools,
            "both_tools": self.both_tools,
            "structured": self.structured,
            "chain": self.chain,
            "consent_item": self.consent_item,
            "history": self.history,
            "dumped": self.dumped,
            "approve": lambda case: self.deciding(case, approve=True),
            "reject": lambda case: self.deciding(case, approve=False),
            "standing": self.standing,
            "question": self.question,
            "reasoning": self.reasoning,
            "image": self.image,
            "text_file": self.text_file,
            "failure": self.failure,
            "refusal": self.refusal,
        }

    def create(self, case: Case, given: Any, **body: Any) -> Any:
        client, model = self.connect(case)
        if not case.streamed:
            return client.responses.create(model=model, input=given, **body)
        with client.responses.stream(model=model, input=given, **body) as stream:
            for event in stream:
                if event.type in ("response.failed", "response.incomplete"):  # Without a final response.
                    return event.response
            return stream.get_final_response()

    def text(self, case: Case) -> Any:
        return self.create(case, "My name is Ada.").output_text

    def instructions(self, case: Case) -> Any:
        return self.create(case, "Say hello.", instructions="Answer in French.").output_text

    def own_tools(self, case: Case) -> Any:
        return self.create(case, "How is the weather in Paris?").output_text

    def with_clock(self, case: Case, question: str) -> Any:
        """The loop of the documentation: run what is called, send everything back."""
        given: list[Any] = [{"role": "user", "content": question}]
        for _ in range(5):
            response = self.create(case, given, tools=[CLOCK])
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return response.output_text
            given += response.output
            for call in calls:
                result = (
                    "noon" if call.name == "clock" and json.loads(call.arguments) == {"city": "Paris"} else "unknown"
                )
                given.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
        raise AssertionError("the loop did not end")

    def client_tools(self, case: Case) -> Any:
        return self.with_clock(case, "What time is it in Paris?")

    def both_tools(self, case: Case) -> Any:
        return self.with_clock(case, "How is the weather in Paris?")

    def structured(self, case: Case) -> Any:
        question = "How is the weather in Paris?"
        if case.streamed:
            return self.create(case, question, text_format=Report).output_parsed.model_dump()
        client, model = self.connect(case)
        return client.responses.parse(model=model, input=question, text_format=Report).output_parsed.model_dump()

    def chain(self, case: Case) -> Any:
        texts, previous = [], None
        for question in TURNS:
            response = self.create(case, question, **({"previous_response_id": previous} if previous else {}))
            texts.append(response.output_text)
            previous = response.id
        return texts

    def consent_item(self, case: Case) -> Any:
        asked = self.create(case, TURNS[0])
        assert (asked.status, asked.incomplete_details.reason) == ("incomplete", "consent_required"), asked
        links = [item.consent_link for item in asked.output if item.type == "oauth_consent_request"]
        answer = self.create(case, TURNS[1], previous_response_id=asked.id)
        last = self.create(case, TURNS[2], previous_response_id=answer.id)
        return [*links, answer.output_text, last.output_text]

    def history(self, case: Case) -> Any:
        given: list[Any] = []
        texts = []
        for question in TURNS:
            given.append({"role": "user", "content": question})
            response = self.create(case, given)
            given += response.output
            texts.append(response.output_text)
        return texts

    def dumped(self, case: Case) -> Any:
        given: list[Any] = []
        texts = []
        for question in TURNS:
            given.append({"role": "user", "content": question})
            response = self.create(case, given)
            given += [item.model_dump() for item in response.output]
            texts.append(response.output_text)
        return texts

    def deciding(self, case: Case, *, approve: bool) -> Any:
        response = self.create(case, "Delete a.txt.")
        asked = [item for item in response.output if item.type == "mcp_approval_request"]
        answers: Any = [
            {"type": "mcp_approval_response", "approval_request_id": item.id, "approve": approve} for item in asked
        ]
        final = self.create(case, answers, previous_response_id=response.id)
        return {"asked": [[item.name, json.loads(item.arguments)] for item in asked], "text": final.output_text}

    def standing(self, case: Case) -> Any:
        asked, texts = [], []
        response = self.create(case, "Delete a.txt.")
        for given in (None, "Delete b.txt."):
            requests = [item for item in response.output if item.type == "mcp_approval_request"]
            asked += [[item.name, json.loads(item.arguments)] for item in requests]
            answers: Any = [
                {
                    "type": "mcp_approval_response",
                    "approval_request_id": item.id,
                    "approve": True,
                    "always_approve": "tool",
                }
                for item in requests
            ]
            response = self.create(case, given or answers, previous_response_id=response.id)
            texts.append(response.output_text)
        return {"asked": asked, "texts": texts}

    def question(self, case: Case) -> Any:
        tools: Any = [{"type": "function", "name": "Refund", "parameters": QUESTION, "strict": False}]
        asked = self.create(case, "Refund order 7.", tools=tools)
        [call] = [item for item in asked.output if item.type == "function_call"]
        assert json.loads(call.arguments)["request"] == {"order": 7}, call.arguments
        answer: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "true"}]
        return self.create(case, answer, tools=tools, previous_response_id=asked.id).output_text

    def reasoning(self, case: Case) -> Any:
        given: list[Any] = []
        texts = []
        for question in ("How is the weather in Paris?", "Who am I?"):
            given.append({"role": "user", "content": question})
            response = self.create(case, given, store=False, include=["reasoning.encrypted_content"])
            given += response.output
            texts.append(response.output_text)
        return texts

    def asking(self, case: Case, *parts: Any) -> Any:
        return self.create(case, [{"role": "user", "content": list(parts)}]).output_text

    def image(self, case: Case) -> Any:
        return self.asking(
            case,
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
        )

    def text_file(self, case: Case) -> Any:
        data = base64.b64encode(NOTES.encode()).decode()
        return self.asking(
            case,
            {"type": "input_file", "filename": "notes.txt", "file_data": f"data:text/plain;base64,{data}"},
            {"type": "input_text", "text": "Where does Ada live?"},
        )

    def failure(self, case: Case) -> Any:
        """A failed turn is a response with an error, as it is at OpenAI."""
        response = self.create(case, "Hi.")
        assert response.status == "failed", response.status
        return response.error.code

    def refusal(self, case: Case) -> Any:
        return failing(lambda: self.create(case, "Hi.", temperature=9))
