"""pydantic-ai: an `Agent` on `OpenAIResponsesModel`, run with `run` and `run_stream`."""

from typing import Any

from driver import NOTES, PIXEL, QUESTION, TURNS, Case, absent, failing_async, main, without_link
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, Tool
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider


class Report(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def clock(city: str) -> str:
    """Tell the time."""
    return "noon" if city == "Paris" else "unknown"


def agent(case: Case, *, model: str = "gpt-5", **fields: Any) -> Agent[Any, Any]:
    return Agent(OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=case.url, api_key="k")), **fields)


async def run(case: Case, given: Any, *, fields: Any = None, **options: Any) -> tuple[Any, Any]:
    """The output and all messages."""
    running = agent(case, **(fields or {}))
    if not case.streamed:
        result = await running.run(given, **options)
        return result.output, result
    async with running.run_stream(given, **options) as result:
        output = await result.get_output()
    return output, result


async def ask(case: Case, given: Any, **fields: Any) -> Any:
    output, _ = await run(case, given, fields=fields)
    return output


async def structured(case: Case) -> Any:
    return (await ask(case, "How is the weather in Paris?", output_type=NativeOutput(Report))).model_dump()


async def conversation(case: Case, questions: Any, settings: Any = None, *, is_dumped: bool = False) -> Any:
    messages: Any = []
    texts = []
    for question in questions:
        text, result = await run(case, question, message_history=messages, model_settings=settings)
        messages = result.all_messages()
        if is_dumped:
            messages = ModelMessagesTypeAdapter.validate_json(result.all_messages_json())
        texts.append(text)
    return texts


async def consent_item(case: Case) -> Any:
    if case.streamed:
        raise without_link(await ask(case, TURNS[0]), "it sends the question again, without showing the link")
    raise without_link(await failing_async(ask(case, TURNS[0])), "it raises an error for the item")


async def question(case: Case) -> Any:
    async def decide(request: Any, response_schema: Any = None) -> str:
        return "true" if request == {"order": 7} else "false"

    tool = Tool.from_schema(decide, "Refund", "Refund an order.", QUESTION)
    settings = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    return await ask(case, "Refund order 7.", tools=[tool], model_settings=settings)


async def reasoning(case: Case) -> Any:
    settings = OpenAIResponsesModelSettings(openai_store=False, openai_reasoning_summary="auto")
    return await conversation(case, ["How is the weather in Paris?", "Who am I?"], settings)


async def image(case: Case) -> Any:
    import base64

    return await ask(case, ["What is this?", BinaryContent(base64.b64decode(PIXEL), media_type="image/png")])


async def text_file(case: Case) -> Any:
    notes = BinaryContent(NOTES.encode(), media_type="text/plain", identifier="notes.txt")
    return await ask(case, ["Where does Ada live?", notes])


main(
    {
        "text": lambda case: ask(case, "My name is Ada."),
        "instructions": lambda case: ask(case, "Say hello.", instructions="Answer in French."),
        "own_tools": lambda case: ask(case, "How is the weather in Paris?"),
        "client_tools": lambda case: ask(case, "What time is it in Paris?", tools=[clock]),
        "both_tools": lambda case: ask(case, "How is the weather in Paris?", tools=[clock]),
        "structured": structured,
        "chain": lambda case: conversation(
            case, TURNS, OpenAIResponsesModelSettings(openai_previous_response_id="auto")
        ),
        "consent_item": consent_item,
        "history": lambda case: conversation(case, TURNS),
        "dumped": lambda case: conversation(case, TURNS, is_dumped=True),
        "approve": absent("it ignores `mcp_approval_request` items"),
        "reject": absent("it ignores `mcp_approval_request` items"),
        "standing": absent("it ignores `mcp_approval_request` items"),
        "question": question,
        "reasoning": reasoning,
        "image": image,
        "text_file": text_file,
        "failure": lambda case: failing_async(ask(case, "Hi.")),
        "refusal": lambda case: failing_async(
            # It sends no temperature to a model that it knows to reason.
            ask(case, "Hi.", model="any", model_settings=OpenAIResponsesModelSettings(temperature=9))
        ),
    }
)
