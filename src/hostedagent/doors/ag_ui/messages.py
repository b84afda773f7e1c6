"""From an AG-UI run to the body of a create-response request.

A front end sends the whole thread each time. The host keeps the conversation, so only what it does not have yet is the
input of the turn: the messages after the last one that the conversation knows. What a failed turn left is sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ag_ui.core import (
    AssistantMessage,
    AudioPart,
    ContentPart,
    DocumentPart,
    FileSource,
    ImagePart,
    Message,
    ResumeEntry,
    RunAgentInput,
    TextPart,
    Tool,
    ToolMessage,
    UrlSource,
    UserMessage,
)
from pydantic import ValidationError

from hostedagent.doors.questions import answer_item
from hostedagent.errors import InvalidRequest
from hostedagent.protocol.json import encode
from hostedagent.protocol.types import Item, Json

OWN_CALL: Final = "mcp_"
"""How the ids of the agent's own calls begin."""

_MESSAGES: Final = ("message", "output_message")
_SHOWN: Final = ("reasoning", "function_call", "mcp_call")
_TOLD: Final = (*_MESSAGES, "function_call_output")
_NO_PARAMETERS: Final[Mapping[str, Json]] = {"type": "object", "properties": {}}


def parse_run(fields: Mapping[str, Json]) -> RunAgentInput:
    """The run that a front end asks for.

    Raises:
        InvalidRequest: It is none; `param` names the field.
    """
    try:
        return RunAgentInput.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{param}: {first['msg']}", param=param) from None


def create_body(run: RunAgentInput, kept: Sequence[Item]) -> dict[str, Json]:
    """The body of the request that asks for the same.

    Args:
        run: The run.
        kept: What the conversation of the thread has already.

    Raises:
        InvalidRequest: A message cannot be given to the agent.
    """
    items = [*_answers(run.resume or ()), *new_items(run.messages, kept)]
    body: dict[str, Json] = {"input": items, "stream": True, "conversation": run.thread_id}
    if run.tools:
        body["tools"] = [_tool(tool) for tool in run.tools]
    if instructions := _ambient(run):
        body["instructions"] = instructions
    return body


def new_items(messages: Sequence[Message], kept: Sequence[Item]) -> list[Item]:
    """The items of a thread that the conversation does not have.

    What the agent said has the same ids on both sides. What it was told has not: where the front end has all that was
    shown of the conversation, and a turn after it showed nothing, the same words again are not new.
    """
    known = known_ids(kept)
    last = max((n for n, message in enumerate(messages) if is_shown(message, known)), default=-1)
    fresh = list(_items(messages[last + 1 :]))
    shown = max((n for n, item in enumerate(kept) if _is_agents(item)), default=-1)
    if shown >= 0 and (last < 0 or not is_shown(messages[last], known_ids(kept[shown : shown + 1]))):
        return fresh
    told = [_words(item) for item in kept[shown + 1 :] if item["type"] in _TOLD]
    same = 0
    while same < min(len(told), len(fresh)) and _words(fresh[same]) == told[same]:
        same += 1
    return fresh[same:]


def is_shown(message: Message, known: Collection[str]) -> bool:
    """Whether a message of a front end shows one of these items or calls."""
    calls = message.tool_calls or () if isinstance(message, AssistantMessage) else ()
    return message.id in known or any(call.id in known for call in calls)


def known_ids(items: Iterable[Item]) -> frozenset[str]:
    """The ids by which a front end names what the agent said and did."""
    return frozenset(
        str(item[name]) for item in items if _is_agents(item) for name in ("id", "call_id") if name in item
    )


def _is_agents(item: Item) -> bool:
    """Whether an item is shown as the agent's."""
    return item["type"] in _SHOWN or (item["type"] in _MESSAGES and item.get("role") == "assistant")


def _words(item: Item) -> tuple[str, str]:
    """What an item tells the agent, however it is stored."""
    if item["type"] == "function_call_output":
        return "output", str(item["call_id"])
    content = item["content"]
    parts = [content] if isinstance(content, str) else [part.get("text") or part["type"] for part in content]
    return str(item.get("role")), "\n".join(parts)


def _tool(tool: Tool) -> dict[str, Json]:
    parameters = tool.parameters or _NO_PARAMETERS
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": parameters}


def _ambient(run: RunAgentInput) -> str:
    """What the front end says about itself. Not stored: each run brings its own."""
    lines = [f"{row.description}: {row.value}" for row in run.context or ()]
    if run.state:
        lines.append(f"Shared state: {encode(run.state).decode()}")
    return "\n".join(lines)


def _answers(entries: Iterable[ResumeEntry]) -> Iterator[Item]:
    for entry in entries:
        is_answered = entry.status == "resolved"
        yield answer_item(entry.interrupt_id, entry.payload if is_answered else "The user did not answer.")


def _items(messages: Iterable[Message]) -> Iterator[Item]:
    for message in messages:
        match message:
            case UserMessage():
                yield {"type": "message", "role": "user", "content": _content(message.content)}
            case AssistantMessage():
                yield from _said(message)
            case ToolMessage():
                if not message.tool_call_id.startswith(OWN_CALL):
                    output = message.error or _content(message.content)
                    yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": output}
            case _:
                if message.role in ("system", "developer"):  # Activities and thoughts are for the front end.
                    yield {"type": "message", "role": message.role, "content": message.content}


def _said(message: AssistantMessage) -> Iterator[Item]:
    if message.content:
        content = [{"type": "output_text", "text": message.content}]
        yield {"type": "message", "role": "assistant", "content": content}
    for call in message.tool_calls or ():
        if not call.id.startswith(OWN_CALL):
            named = {"name": call.function.name, "arguments": call.function.arguments or "{}"}
            yield {"type": "function_call", "call_id": call.id, **named}


def _content(content: str | list[ContentPart]) -> Json:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: ContentPart) -> dict[str, Json]:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case ImagePart():
            return {"type": "input_image", **_source(part, "file_id", "image_url", "image_url"), "detail": "auto"}
        case DocumentPart():
            return {"type": "input_file", **_source(part, "file_id", "file_url", "file_data")}
        case AudioPart(source=source) if source.type == "data":
            kind = (source.mime_type or "").partition("/")[2] or "wav"
            return {"type": "input_audio", "input_audio": {"data": source.value, "format": kind}}
        case _:
            raise InvalidRequest(f"The agent cannot be given content of the type {part.type!r}.", param="messages")


def _source(part: ImagePart | DocumentPart, file: str, url: str, data: str) -> dict[str, Json]:
    source = part.source
    if isinstance(source, FileSource):
        return {file: source.value}
    if isinstance(source, UrlSource):
        return {url: source.value}
    return {data: f"data:{source.mime_type};base64,{source.value}"}
