"""LiteLLM's bridge: `completion` with a model of the Responses API, whose chat messages become its items."""

import json
import os
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import base64

import litellm
from driver import NOTES, PIXEL, QUESTION, SCHEMA, TURNS, AbsentError, Case, failing, main

litellm.suppress_debug_info = True
CLOCK: Any = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Tell the time.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
REPORT: Any = {"type": "json_schema", "json_schema": {"name": "report", "strict": True, "schema": SCHEMA}}


def complete(case: Case, messages: list[Any], **body: Any) -> Any:
    options = {"model": "openai/responses/any", "api_base": case.url, "api_key": "k", "num_retries": 0, **body}
    if not case.streamed:
        return litellm.completion(messages=messages, **options).choices[0].message
    chunks = list(litellm.completion(messages=messages, stream=True, **options))
    return litellm.stream_chunk_builder(chunks, messages=messages).choices[0].message


def ask(case: Case, content: Any, **body: Any) -> Any:
    return complete(case, [{"role": "user", "content": content}], **body).content


def instructions(case: Case) -> Any:
    messages = [{"role": "system", "content": "Answer in French."}, {"role": "user", "content": "Say hello."}]
    return complete(case, messages).content


def with_clock(case: Case, question: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": question}]
    for _ in range(5):
        message = complete(case, messages, tools=[CLOCK])
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            is_ours = call.function.name == "clock" and json.loads(call.function.arguments) == {"city": "Paris"}
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "noon" if is_ours else "unknown"})
    raise AssertionError("the loop did not end")


def structured(case: Case) -> Any:
    return json.loads(ask(case, "How is the weather in Paris?", response_format=REPORT))


def conversation(case: Case, questions: Any, kept: Callable[[Any], Any] = lambda message: message, **body: Any) -> Any:
    messages: list[Any] = []
    texts = []
    for question in questions:
        messages.append({"role": "user", "content": question})
        message = complete(case, messages, **body)
        messages.append(kept(message))
        texts.append(message.content)
    return texts


def respond(case: Case, given: Any, **body: Any) -> Any:
    """LiteLLM's own call of the Responses API, for what chat completions do not have."""
    options = {"model": "openai/any", "api_base": case.url, "api_key": "k", "num_retries": 0, **body}
    if not case.streamed:
        return litellm.responses(input=given, **options)
    last: Any = None
    for event in litellm.responses(input=given, stream=True, **options):
        last = event
    return last.response


def text_of(response: Any) -> str:
    return "".join(part.text for item in response.output if item.type == "message" for part in item.content)


def chain(case: Case) -> Any:
    texts, previous = [], None
    for question in TURNS:
        response = respond(case, question, **({"previous_response_id": previous} if previous else {}))
        texts.append(text_of(response))
        previous = response.id
    return texts


def consent_item(case: Case) -> Any:
    asked = respond(case, TURNS[0])
    links = [item["consent_link"] for item in asked.output if item["type"] == "oauth_consent_request"]
    answer = respond(case, TURNS[1], previous_response_id=asked.id)
    last = respond(case, TURNS[2], previous_response_id=answer.id)
    return [*links, text_of(answer), text_of(last)]


def question(case: Case) -> Any:
    tools: Any = [{"type": "function", "name": "Refund", "parameters": QUESTION, "strict": False}]
    asked = respond(case, "Refund order 7.", tools=tools)
    [call] = [item for item in asked.output if item.type == "function_call"]
    answer: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "true"}]
    return text_of(respond(case, answer, tools=tools, previous_response_id=asked.id))


def failure(case: Case) -> Any:
    if case.streamed:
        raise AbsentError("it ends the stream of a failed response without reporting an error")
    return failing(lambda: ask(case, "Hi."))


def decide(case: Case, **decision: Any) -> Any:
    response = respond(case, "Delete a.txt.")
    asked = [item for item in response.output if item.type == "mcp_approval_request"]
    answers = [{"type": "mcp_approval_response", "approval_request_id": item.id, **decision} for item in asked]
    final = respond(case, answers, previous_response_id=response.id)
    return [[item.name, json.loads(item.arguments)] for item in asked], final


def deciding(case: Case, *, approve: bool) -> Any:
    asked, final = decide(case, approve=approve)
    return {"asked": asked, "text": text_of(final)}


def standing(case: Case) -> Any:
    asked, answer = decide(case, approve=True, always_approve="tool")
    final = respond(case, "Delete b.txt.", previous_response_id=answer.id)
    return {"asked": asked, "texts": [text_of(answer), text_of(final)]}


main(
    {
        "text": lambda case: ask(case, "My name is Ada."),
        "instructions": instructions,
        "own_tools": lambda case: ask(case, "How is the weather in Paris?"),
        "client_tools": lambda case: with_clock(case, "What time is it in Paris?"),
        "both_tools": lambda case: with_clock(case, "How is the weather in Paris?"),
        "structured": structured,
        "chain": chain,
        "consent_item": consent_item,
        "history": lambda case: conversation(case, TURNS),
        "dumped": lambda case: conversation(case, TURNS, lambda message: message.model_dump()),
        "approve": lambda case: deciding(case, approve=True),
        "reject": lambda case: deciding(case, approve=False),
        "standing": standing,
        "question": question,
        "reasoning": lambda case: conversation(
            case,
            ["How is the weather in Paris?", "Who am I?"],
            extra_body={"store": False, "include": ["reasoning.encrypted_content"]},
        ),
        "image": lambda case: ask(
            case,
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        ),
        "text_file": lambda case: ask(
            case,
            [
                {
                    "type": "file",
                    "file": {
                        "filename": "notes.txt",
                        "file_data": f"data:text/plain;base64,{base64.b64encode(NOTES.encode()).decode()}",
                    },
                },
                {"type": "text", "text": "Where does Ada live?"},
            ],
        ),
        "failure": failure,
        "refusal": lambda case: failing(lambda: ask(case, "Hi.", temperature=9)),
    }
)
