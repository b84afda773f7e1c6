"""`openai-agents` for Python: an `Agent` whose model is the hosted agent, run with `Runner.run` and `run_streamed`."""

import base64
import json
from typing import Any

from driver import NOTES, PIXEL, QUESTION, TURNS, Case, absent, failing_async, main, without_link
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

from agents import (
    Agent,
    FunctionTool,
    HostedMCPTool,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)

set_tracing_disabled(True)


class Report(BaseModel):
    city: str
    degrees: int


@function_tool
def clock(city: str) -> str:
    """Tell the time."""
    return "noon" if city == "Paris" else "unknown"


def agent(case: Case, **fields: Any) -> Agent[Any]:
    client = AsyncOpenAI(base_url=case.url, api_key="k", max_retries=0)
    return Agent(name="caller", model=OpenAIResponsesModel("any", client), **fields)


async def run(case: Case, given: Any, *, starting: Agent[Any] | None = None, **options: Any) -> Any:
    starting = starting or agent(case)
    if not case.streamed:
        return await Runner.run(starting, given, **options)
    result = Runner.run_streamed(starting, given, **options)
    async for _ in result.stream_events():
        pass
    return result


async def text(case: Case) -> Any:
    return (await run(case, "My name is Ada.")).final_output


async def instructions(case: Case) -> Any:
    return (await run(case, "Say hello.", starting=agent(case, instructions="Answer in French."))).final_output


async def own_tools(case: Case) -> Any:
    return (await run(case, "How is the weather in Paris?")).final_output


async def client_tools(case: Case) -> Any:
    return (await run(case, "What time is it in Paris?", starting=agent(case, tools=[clock]))).final_output


async def both_tools(case: Case) -> Any:
    return (await run(case, "How is the weather in Paris?", starting=agent(case, tools=[clock]))).final_output


async def structured(case: Case) -> Any:
    result = await run(case, "How is the weather in Paris?", starting=agent(case, output_type=Report))
    return result.final_output.model_dump()


async def chain(case: Case) -> Any:
    texts, previous = [], None
    for question in TURNS:
        result = await run(case, question, previous_response_id=previous)
        texts.append(result.final_output)
        previous = result.last_response_id
    return texts


async def consent_item(case: Case) -> Any:
    raise without_link(await failing_async(run(case, TURNS[0])), "it raises an error for an `incomplete` response")


async def conversation(case: Case, questions: Any, *, is_dumped: bool = False, **fields: Any) -> Any:
    given: list[Any] = []
    texts = []
    for question in questions:
        result = await run(case, [*given, {"role": "user", "content": question}], starting=agent(case, **fields))
        texts.append(result.final_output)
        given = result.to_input_list()
        if is_dumped:
            given = json.loads(json.dumps(given))
    return texts


async def deciding(case: Case, *, approve: bool) -> Any:
    asked = []

    def decide(request: Any) -> Any:
        asked.append([request.data.name, json.loads(request.data.arguments)])
        return {"approve": approve}

    tool = HostedMCPTool(
        tool_config={"type": "mcp", "server_label": "agent", "require_approval": "always"},
        on_approval_request=decide,
    )
    result = await run(case, "Delete a.txt.", starting=agent(case, tools=[tool]))
    return {"asked": asked, "text": result.final_output}


async def question(case: Case) -> Any:
    async def decide(_: Any, arguments: str) -> str:
        assert json.loads(arguments)["request"] == {"order": 7}, arguments
        return "true"

    tool = FunctionTool("Refund", "Refund an order.", QUESTION, decide, strict_json_schema=False)
    result = await run(case, "Refund order 7.", starting=agent(case, tools=[tool]), auto_previous_response_id=True)
    return result.final_output


async def reasoning(case: Case) -> Any:
    settings = ModelSettings(
        store=False, response_include=["reasoning.encrypted_content"], reasoning=Reasoning(summary="auto")
    )
    return await conversation(case, ["How is the weather in Paris?", "Who am I?"], model_settings=settings)


async def asking(case: Case, *parts: Any) -> Any:
    return (await run(case, [{"role": "user", "content": list(parts)}])).final_output


async def image(case: Case) -> Any:
    return await asking(
        case,
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
    )


async def text_file(case: Case) -> Any:
    data = base64.b64encode(NOTES.encode()).decode()
    return await asking(
        case,
        {"type": "input_file", "filename": "notes.txt", "file_data": f"data:text/plain;base64,{data}"},
        {"type": "input_text", "text": "Where does Ada live?"},
    )


async def failure(case: Case) -> Any:
    return await failing_async(run(case, "Hi."))


async def refusal(case: Case) -> Any:
    return await failing_async(run(case, "Hi.", starting=agent(case, model_settings=ModelSettings(temperature=9))))


main(
    {
        "text": text,
        "instructions": instructions,
        "own_tools": own_tools,
        "client_tools": client_tools,
        "both_tools": both_tools,
        "structured": structured,
        "chain": chain,
        "consent_item": consent_item,
        "history": lambda case: conversation(case, TURNS),
        "dumped": lambda case: conversation(case, TURNS, is_dumped=True),
        "approve": lambda case: deciding(case, approve=True),
        "reject": lambda case: deciding(case, approve=False),
        "standing": absent("its answers have no field for it"),
        "question": question,
        "reasoning": reasoning,
        "image": image,
        "text_file": text_file,
        "failure": failure,
        "refusal": refusal,
    }
)
