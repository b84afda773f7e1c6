"""LlamaIndex: `OpenAIResponses`, alone and below a `FunctionAgent`."""

import base64
from collections.abc import Callable
from typing import Any

from driver import (
    NOT_SHOWN,
    NOTES,
    PIXEL,
    QUESTION,
    TURNS,
    AbsentError,
    Case,
    absent,
    failing_async,
    main,
    without_link,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.memory import Memory
from llama_index.llms.openai import OpenAIResponses
from pydantic import BaseModel


class Report(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def clock(city: str) -> str:
    """Tell the time."""
    return "noon" if city == "Paris" else "unknown"


def model(case: Case, **fields: Any) -> OpenAIResponses:
    return OpenAIResponses(model="any", api_base=case.url, api_key="k", max_retries=0, context_window=100_000, **fields)


async def reply(llm: OpenAIResponses, case: Case, messages: list[ChatMessage], **body: Any) -> ChatMessage:
    if not case.streamed:
        return (await llm.achat(messages, **body)).message
    last: Any = None
    async for chunk in await llm.astream_chat(messages, **body):
        last = chunk
    return last.message


async def ask(case: Case, given: Any, **fields: Any) -> Any:
    return (await reply(model(case, **fields), case, [ChatMessage(role="user", content=given)])).content


async def with_agent(case: Case, question: str, **fields: Any) -> Any:
    agent = FunctionAgent(llm=model(case), streaming=case.streamed, **fields)
    memory = Memory.from_defaults()
    return (await agent.run(question, memory=memory)).response.content


async def structured(case: Case) -> Any:
    report = (
        await model(case)
        .as_structured_llm(Report)
        .achat([ChatMessage(role="user", content="How is the weather in Paris?")])
    )
    return report.raw.model_dump()


async def chain(case: Case) -> Any:
    llm = model(case, track_previous_responses=True)
    return [(await reply(llm, case, [ChatMessage(role="user", content=turn)])).content for turn in TURNS]


async def conversation(
    case: Case, questions: Any, kept: Callable[[ChatMessage], ChatMessage] = lambda message: message, **fields: Any
) -> Any:
    llm = model(case, **fields)
    messages: list[ChatMessage] = []
    texts = []
    for question in questions:
        messages.append(ChatMessage(role="user", content=question))
        answer = await reply(llm, case, messages)
        messages.append(kept(answer))
        texts.append(answer.content)
    return texts


async def consent_item(case: Case) -> Any:
    if case.streamed:
        raise without_link(await ask(case, TURNS[0]), NOT_SHOWN)
    raise without_link(await failing_async(ask(case, TURNS[0])), "it raises an error for the item")


async def question(case: Case) -> Any:
    llm = model(case, track_previous_responses=True)
    tools = [{"type": "function", "name": "Refund", "parameters": QUESTION, "strict": False}]
    asked = await reply(llm, case, [ChatMessage(role="user", content="Refund order 7.")], tools=tools)
    [call] = [block for block in asked.blocks if isinstance(block, ToolCallBlock)]
    answer = ChatMessage(role="tool", content="true", additional_kwargs={"call_id": call.tool_call_id})
    return (await reply(llm, case, [answer], tools=tools)).content


async def failure(case: Case) -> Any:
    """It does not raise for a failed response; it only hands it on."""
    if case.streamed:
        raise AbsentError("it ends the stream of a failed response without reporting an error")
    response = await model(case).achat([ChatMessage(role="user", content="Hi.")])
    return response.raw.error.code


def through_json(message: ChatMessage) -> ChatMessage:
    return ChatMessage.model_validate_json(message.model_dump_json())


main(
    {
        "text": lambda case: ask(case, "My name is Ada."),
        "instructions": lambda case: ask(case, "Say hello.", instructions="Answer in French."),
        "own_tools": lambda case: with_agent(case, "How is the weather in Paris?"),
        "client_tools": lambda case: with_agent(case, "What time is it in Paris?", tools=[clock]),
        "both_tools": lambda case: with_agent(case, "How is the weather in Paris?", tools=[clock]),
        "structured": structured,
        "chain": chain,
        "consent_item": consent_item,
        "history": lambda case: conversation(case, TURNS),
        "dumped": lambda case: conversation(case, TURNS, through_json),
        "approve": absent("it has no approvals"),
        "reject": absent("it has no approvals"),
        "standing": absent("it has no approvals"),
        "question": question,
        "reasoning": lambda case: conversation(
            case,
            ["How is the weather in Paris?", "Who am I?"],
            include=["reasoning.encrypted_content"],
            reasoning_options={"summary": "auto"},
        ),
        "image": lambda case: ask(
            case,
            [
                TextBlock(text="What is this?"),
                ImageBlock(image=base64.b64decode(PIXEL), image_mimetype="image/png"),
            ],
        ),
        "text_file": lambda case: ask(
            case,
            [
                DocumentBlock(data=NOTES.encode(), title="notes.txt", document_mimetype="text/plain"),
                TextBlock(text="Where does Ada live?"),
            ],
        ),
        "failure": failure,
        "refusal": lambda case: failing_async(ask(case, "Hi.", temperature=9)),
    }
)
