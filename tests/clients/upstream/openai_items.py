"""The output items of the Responses API, each as its events and as the item it becomes.

An item is built in two halves, the events that open and fill it and those that close it, because a turn that breaks
off leaves its last item open. Event order and fields follow the API reference's streaming events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .values import (
    Annotation,
    CodeInterpreter,
    ContainerFileCitation,
    FileCitation,
    FileSearch,
    ImageGeneration,
    Json,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    UrlCitation,
    WebSearch,
    Wire,
    gated,
    slices,
    words,
)


@dataclass(slots=True)
class Item:
    """One output item: its place, its two halves of events, and what it is once done."""

    id: str
    index: int
    done: Json = field(default_factory=dict[str, object])
    opening: list[Wire] = field(default_factory=list[Wire])
    closing: list[Json] = field(default_factory=list[Json])

    def at(self, type_: str, **fields: object) -> Json:
        """An event about this item."""
        return {"type": type_, "item_id": self.id, "output_index": self.index, **fields}

    def steps(self, family: str, *names: str) -> list[Json]:
        """Progress events that carry nothing but their name."""
        return [self.at(f"response.{family}.{name}") for name in names]

    def start(self, added: Json, done: Json) -> None:
        """Announce the item as it is at first, and remember what it will be."""
        self.done = {"id": self.id, **done}
        event = {"type": "response.output_item.added", "output_index": self.index, "item": {"id": self.id, **added}}
        self.opening.append(event)

    def finish(self) -> None:
        """The last event of every item."""
        event: Json = {"type": "response.output_item.done", "output_index": self.index, "item": self.done}
        self.closing.append(event)


def build(part: Part, number: int, index: int) -> Item:
    """One part of a turn as an output item."""
    match part:
        case Text() | Refusal():
            item = _message(Message((part,)), number, index)
        case Message():
            item = _message(part, number, index)
        case Reasoning():
            item = _reasoning(part, number, index)
        case ToolCall():
            item = _function_call(part, number, index)
        case WebSearch() | FileSearch():
            item = _search(part, number, index)
        case CodeInterpreter():
            item = _code_interpreter(part, number, index)
        case ImageGeneration():
            item = _image(part, number, index)
        case McpListTools() | McpCall() | McpApprovalRequest():
            item = _mcp(part, number, index)
    item.finish()
    return item


def _message(message: Message, number: int, index: int) -> Item:
    item = Item(f"msg_{number}_{index}", index)
    base: Json = {"type": "message", "role": "assistant"}
    contents = [_final_content(part) for part in message.parts]
    done: Json = {**base, "status": "completed", "content": contents}
    item.start({**base, "status": "in_progress", "content": []}, done)
    for position, part in enumerate(message.parts):
        opening, closing = _content_events(item, part, position)
        item.opening += item.closing
        item.opening += opening
        item.closing = closing
    return item


def _final_content(part: Text | Refusal) -> Json:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    annotations = [_annotation(annotation) for annotation in part.annotations]
    return {"type": "output_text", "text": part.text, "annotations": annotations, "logprobs": []}


def _content_events(item: Item, part: Text | Refusal, position: int) -> tuple[list[Wire], list[Json]]:
    content = _final_content(part)
    here = {"content_index": position}
    closed = item.at("response.content_part.done", **here, part=content)
    if isinstance(part, Refusal):
        empty: Json = {"type": "refusal", "refusal": ""}
        deltas = [item.at("response.refusal.delta", **here, delta=delta) for delta in part.deltas]
        done = item.at("response.refusal.done", **here, refusal=part.text)
        return [item.at("response.content_part.added", **here, part=empty), *deltas], [done, closed]
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    deltas = [item.at("response.output_text.delta", **here, delta=delta, logprobs=[]) for delta in part.deltas]
    notes = [
        item.at("response.output_text.annotation.added", **here, annotation_index=place, annotation=annotation)
        for place, annotation in enumerate(content["annotations"])
    ]
    done = item.at("response.output_text.done", **here, text=part.text, logprobs=[])
    added = item.at("response.content_part.added", **here, part=empty)
    return [added, *gated(deltas, part.gate), *notes], [done, closed]


def _annotation(annotation: Annotation) -> Json:
    match annotation:
        case UrlCitation(url=url, title=title, start=start, end=end):
            return {"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end}
        case FileCitation(file_id=file_id, filename=filename, index=index):
            return {"type": "file_citation", "file_id": file_id, "filename": filename, "index": index}
        case ContainerFileCitation():
            return {
                "type": "container_file_citation",
                "container_id": annotation.container_id,
                "file_id": annotation.file_id,
                "filename": annotation.filename,
                "start_index": annotation.start,
                "end_index": annotation.end,
            }


def _reasoning(part: Reasoning, number: int, index: int) -> Item:
    item = Item(f"rs_{number}_{index}", index)
    done: Json = {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in part.summary]}
    if part.raw:
        done["content"] = [{"type": "reasoning_text", "text": text} for text in part.raw]
    if part.encrypted is not None:
        done["encrypted_content"] = part.encrypted
    item.start({"type": "reasoning", "summary": []}, done)
    for position, text in enumerate(part.summary):
        item.opening += _reasoning_text(item, "reasoning_summary_part", "reasoning_summary_text", position, text)
    for position, text in enumerate(part.raw):
        item.opening += _reasoning_text(item, "content_part", "reasoning_text", position, text)
    return item


def _reasoning_text(item: Item, part_family: str, text_family: str, position: int, text: str) -> list[Json]:
    here = {"content_index" if part_family == "content_part" else "summary_index": position}
    type_ = "reasoning_text" if part_family == "content_part" else "summary_text"
    return [
        item.at(f"response.{part_family}.added", **here, part={"type": type_, "text": ""}),
        *(item.at(f"response.{text_family}.delta", **here, delta=delta) for delta in words(text)),
        item.at(f"response.{text_family}.done", **here, text=text),
        item.at(f"response.{part_family}.done", **here, part={"type": type_, "text": text}),
    ]


def _function_call(part: ToolCall, number: int, index: int) -> Item:
    item = Item(f"fc_{number}_{index}", index)
    base: Json = {"type": "function_call", "call_id": part.id_at(number, index), "name": part.name}
    item.start(
        {**base, "status": "in_progress", "arguments": ""}, {**base, "status": "completed", "arguments": part.json}
    )
    deltas = [item.at("response.function_call_arguments.delta", delta=delta) for delta in part.deltas]
    item.opening += gated(deltas, part.gate)
    item.closing.append(item.at("response.function_call_arguments.done", arguments=part.json, name=part.name))
    return item


def _search(part: WebSearch | FileSearch, number: int, index: int) -> Item:
    if isinstance(part, FileSearch):
        item = Item(f"fs_{number}_{index}", index)
        base: Json = {"type": "file_search_call", "queries": [*part.queries], "results": None}
        item.start({**base, "queries": [], "status": "in_progress"}, {**base, "status": "completed"})
        item.opening += item.steps("file_search_call", "in_progress", "searching")
        item.closing += item.steps("file_search_call", "completed")
        return item
    item = Item(f"ws_{number}_{index}", index)
    action: Json = {"type": "search", "query": part.query, "queries": [part.query]}
    if part.sources:
        action["sources"] = [{"type": "url", "url": url} for url in part.sources]
    done: Json = {"type": "web_search_call", "status": part.status, "action": action}
    item.start({"type": "web_search_call", "status": "in_progress", "action": {"type": "search"}}, done)
    item.opening += item.steps("web_search_call", "in_progress", "searching")
    item.closing += item.steps("web_search_call", "completed")
    return item


def _code_interpreter(part: CodeInterpreter, number: int, index: int) -> Item:
    item = Item(f"ci_{number}_{index}", index)
    base: Json = {"type": "code_interpreter_call", "container_id": part.container_id}
    outputs = None if part.logs is None else [{"type": "logs", "logs": part.logs}]
    done: Json = {**base, "status": "completed", "code": part.code, "outputs": outputs}
    item.start({**base, "status": "in_progress", "code": "", "outputs": None}, done)
    item.opening += item.steps("code_interpreter_call", "in_progress")
    item.opening += [item.at("response.code_interpreter_call_code.delta", delta=delta) for delta in slices(part.code)]
    item.closing.append(item.at("response.code_interpreter_call_code.done", code=part.code))
    item.closing += item.steps("code_interpreter_call", "interpreting", "completed")
    return item


def _image(part: ImageGeneration, number: int, index: int) -> Item:
    item = Item(f"ig_{number}_{index}", index)
    look: Json = {"background": "opaque", "output_format": "png", "quality": "medium", "size": "1024x1024"}
    done: Json = {"type": "image_generation_call", "status": "completed", "result": part.result, **look}
    item.start({"type": "image_generation_call", "status": "in_progress", "result": None}, done)
    item.opening += item.steps("image_generation_call", "in_progress", "generating")
    item.opening += [
        item.at(
            "response.image_generation_call.partial_image", partial_image_index=place, partial_image_b64=image, **look
        )
        for place, image in enumerate(part.partials)
    ]
    item.closing += item.steps("image_generation_call", "completed")
    return item


def _mcp(part: McpListTools | McpCall | McpApprovalRequest, number: int, index: int) -> Item:
    match part:
        case McpListTools(server=server, tools=tools):
            item = Item(f"mcpl_{number}_{index}", index)
            base: Json = {"type": "mcp_list_tools", "server_label": server}
            listed = [{"name": name, "input_schema": {"type": "object"}} for name in tools]
            item.start({**base, "tools": []}, {**base, "tools": listed})
            item.opening += item.steps("mcp_list_tools", "in_progress")
            item.closing += item.steps("mcp_list_tools", "completed")
        case McpApprovalRequest(server=server, name=name, arguments=arguments):
            item = Item(f"mcpr_{number}_{index}", index)
            request: Json = {"type": "mcp_approval_request", "server_label": server, "name": name}
            request["arguments"] = json.dumps(dict(arguments))
            item.start(request, request)
        case McpCall():
            item = _mcp_call(part, number, index)
    return item


def _mcp_call(part: McpCall, number: int, index: int) -> Item:
    item = Item(f"mcp_{number}_{index}", index)
    arguments = json.dumps(dict(part.arguments))
    outcome = "completed" if part.error is None else "failed"
    base: Json = {"type": "mcp_call", "server_label": part.server, "name": part.name, "approval_request_id": None}
    error = None if part.error is None else {"type": "mcp_protocol_error", "code": -32000, "message": part.error}
    item.start(
        {**base, "status": "in_progress", "arguments": "", "output": None, "error": None},
        {**base, "status": outcome, "arguments": arguments, "output": part.output, "error": error},
    )
    item.opening += item.steps("mcp_call", "in_progress")
    item.opening += [item.at("response.mcp_call_arguments.delta", delta=delta) for delta in slices(arguments)]
    item.closing.append(item.at("response.mcp_call_arguments.done", arguments=arguments))
    item.closing += item.steps("mcp_call", outcome)
    return item
