"""Converts an AG-UI run to the body of a create-response request. A front end always sends the whole thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ag_ui.core import Message, ResumeEntry, RunAgentInput, Tool

from hostedagent.doors.messages import message_items
from hostedagent.doors.questions import answer_item
from hostedagent.protocol.json import encode
from hostedagent.protocol.types import Item, Json

RUN: Final = "ag_ui_run_id"
"""The metadata key for the id of the run."""

_OWN_CALL: Final = "mcp_"
"""Prefix of the ids of the agent's own calls."""

_MOST: Final = 512
_NO_PARAMETERS: Final[Mapping[str, Json]] = {"type": "object", "properties": {}}


def create_body(run: RunAgentInput, new: Sequence[Item]) -> dict[str, Json]:
    """The body of the equivalent create-response request, with these new items of the thread."""
    body: dict[str, Json] = {
        "input": [*_answers(run.resume or ()), *new],
        "stream": True,
        "conversation": run.thread_id,
        "metadata": {RUN: run.run_id[:_MOST]},
        "tools": [_tool(tool) for tool in run.tools or ()],
    }
    if instructions := _ambient(run):
        body["instructions"] = instructions
    return body


def items_from(messages: Sequence[Message], first: int) -> list[Item]:
    """The items of messages, starting with one of them.

    Raises:
        InvalidRequest: A message cannot be passed to the agent.
    """
    return list(message_items([_plain(message) for message in messages[first:]], _part, first=first))


def shown_by(message: Message) -> set[str]:
    """The ids that a message shows: its own, and those of its calls."""
    return {message.id, *(call.id for call in getattr(message, "tool_calls", None) or ())}


def _tool(tool: Tool) -> dict[str, Json]:
    named = tool.model_dump(include={"name", "description"})
    return {"type": "function", **named, "parameters": tool.parameters or _NO_PARAMETERS}


def _ambient(run: RunAgentInput) -> str:
    """The context of the front end. Not stored: each run sends its own."""
    lines = [f"{row.description}: {row.value}" for row in run.context or ()]
    if run.state:
        lines.append(f"Shared state: {encode(run.state).decode()}")
    return "\n".join(lines)


def _answers(entries: Iterable[ResumeEntry]) -> Iterator[Item]:
    for entry in entries:
        is_answered = entry.status == "resolved"
        yield answer_item(entry.interrupt_id, entry.payload if is_answered else "The user did not answer.")


def _plain(message: Message) -> dict[str, Json]:
    """A message in the form of Chat Completions, without the agent's own calls and content for the front end only."""
    row: dict[str, Json] = message.model_dump(exclude_none=True)
    if message.role in ("activity", "reasoning") or str(row.get("tool_call_id")).startswith(_OWN_CALL):
        return {"role": "assistant"}
    row["tool_calls"] = [call for call in row.get("tool_calls", ()) if not call["id"].startswith(_OWN_CALL)]
    return {**row, "content": row.get("error") or row.get("content")}


def _part(part: Mapping[str, Json], param: str) -> dict[str, Json] | None:
    source: Mapping[str, Json] = part.get("source") or {}
    value, kind = source.get("value"), source.get("type")
    data = f"data:{source.get('mime_type')};base64,{value}"
    match part["type"], kind:
        case "image", "file":
            return {"type": "input_image", "file_id": value, "detail": "auto"}
        case "image", _:
            return {"type": "input_image", "image_url": value if kind == "url" else data, "detail": "auto"}
        case "document", "file" | "url":
            return {"type": "input_file", f"file_{'url' if kind == 'url' else 'id'}": value}
        case "document", _:
            return {"type": "input_file", "file_data": data}
        case "audio", "data":
            form = str(source.get("mime_type") or "").partition("/")[2] or "wav"
            return {"type": "input_audio", "input_audio": {"data": value, "format": form}}
        case _:
            return None
