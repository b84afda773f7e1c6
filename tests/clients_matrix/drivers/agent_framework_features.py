"""The features of the matrix with agents of Agent Framework whose model is the hosted agent."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from agent_framework import Content, FunctionTool, Message, tool
from driver import NOT_SHOWN, PIXEL, QUESTION, TURNS, Case, absent, failing_async, without_link
from pydantic import BaseModel

Build = Callable[..., Any]
"""Gives an agent for a case, from the arguments of `Agent`."""
STATELESS = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}


class Report(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool
def clock(city: Annotated[str, "Name of the city"]) -> str:
    """Tell the time."""
    return "noon" if city == "Paris" else "unknown"


def decide(request: dict[str, Any], response_schema: Any = None) -> str:
    """Decide on a refund."""
    return "true" if request == {"order": 7} else "false"


refund = FunctionTool(name="Refund", description="Refund an order.", func=decide, input_model=QUESTION)


class Features:
    """The features, with agents that `build` makes."""

    def __init__(self, build: Build) -> None:
        self.build = build

    def table(self) -> Mapping[str, Callable[[Case], Any]]:
        """The function of each feature."""
        return {
            "text": lambda case: self.ask(case, "My name is Ada."),
            "instructions": lambda case: self.ask(case, "Say hello.", instructions="Answer in French."),
            "own_tools": lambda case: self.ask(case, "How is the weather in Paris?"),
            "client_tools": lambda case: self.ask(case, "What time is it in Paris?", tools=[clock]),
            "both_tools": lambda case: self.ask(case, "How is the weather in Paris?", tools=[clock]),
            "structured": self.structured,
            "chain": self.chain,
            "consent_item": self.consent_item,
            "history": lambda case: self.conversation(case, TURNS),
            "dumped": lambda case: self.conversation(case, TURNS, self.through_json),
            "approve": lambda case: self.deciding(case, approve=True),
            "reject": lambda case: self.deciding(case, approve=False),
            "standing": absent("it does not send this part of an answer"),
            "question": self.question,
            "reasoning": lambda case: self.conversation(
                case, ["How is the weather in Paris?", "Who am I?"], default_options=STATELESS
            ),
            "image": lambda case: self.ask(
                case,
                Message("user", [Content.from_text("What is this?"), self.data(base64.b64decode(PIXEL), "image/png")]),
            ),
            "text_file": absent("it drops every file that is not an image, audio or `application/*`"),
            "failure": self.failure,
            "refusal": lambda case: failing_async(self.ask(case, "Hi.", default_options={"temperature": 9})),
        }

    async def run(self, case: Case, agent: Any, given: Any, **options: Any) -> Any:
        if not case.streamed:
            return await agent.run(given, **options)
        stream = agent.run(given, stream=True, **options)
        async for _ in stream:
            pass
        return await stream.get_final_response()

    async def ask(self, case: Case, given: Any, **fields: Any) -> Any:
        return (await self.run(case, self.build(case, **fields), given)).text

    async def structured(self, case: Case) -> Any:
        options = {"response_format": Report}
        response = await self.run(case, self.build(case), "How is the weather in Paris?", options=options)
        return response.value.model_dump()

    async def chain(self, case: Case) -> Any:
        agent = self.build(case)
        session = agent.create_session()
        return [(await self.run(case, agent, question, session=session)).text for question in TURNS]

    async def consent_item(self, case: Case) -> Any:
        agent = self.build(case)
        session = agent.create_session()
        asked = await self.run(case, agent, TURNS[0], session=session)
        links = [content.consent_link for message in asked.messages for content in message.contents]
        if not links:
            raise without_link(asked.to_dict(), NOT_SHOWN)
        return [*links, *[(await self.run(case, agent, turn, session=session)).text for turn in TURNS[1:]]]

    async def conversation(
        self, case: Case, questions: Any, kept: Callable[[Any], Any] = lambda messages: messages, **fields: Any
    ) -> Any:
        agent = self.build(case, **fields)
        messages: list[Any] = []
        texts = []
        for question in questions:
            messages.append(Message("user", [question]))
            response = await self.run(case, agent, messages)
            messages = kept([*messages, *response.messages])
            texts.append(response.text)
        return texts

    async def question(self, case: Case) -> Any:
        agent = self.build(case, tools=[refund])
        return (await self.run(case, agent, "Refund order 7.", session=agent.create_session())).text

    async def failure(self, case: Case) -> Any:
        """The client does not raise for a failed response; it only hands it on."""
        raw: Any = await self.run(case, self.build(case), "Hi.")
        while not hasattr(raw, "error"):
            raw = raw[-1] if isinstance(raw, list) else getattr(raw, "response", None) or raw.raw_representation
        return raw.error.code

    async def deciding(self, case: Case, *, approve: bool) -> Any:
        agent = self.build(case)
        session = agent.create_session()
        first = await self.run(case, agent, "Delete a.txt.", session=session)
        requests = first.user_input_requests
        answers = Message("user", [request.to_function_approval_response(approve) for request in requests])
        final = await self.run(case, agent, answers, session=session)
        asked = [[request.function_call.name, request.function_call.parse_arguments()] for request in requests]
        return {"asked": asked, "text": final.text}

    @staticmethod
    def through_json(messages: Any) -> Any:
        return [Message.from_dict(row) for row in json.loads(json.dumps([message.to_dict() for message in messages]))]

    @staticmethod
    def data(content: bytes, media_type: str, **properties: Any) -> Any:
        return Content.from_data(content, media_type, additional_properties=properties)
