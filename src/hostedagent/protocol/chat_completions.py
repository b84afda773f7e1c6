"""Chat Completions, in terms of the Responses protocol: a request becomes a create body, events become chunks.

Chat Completions keeps no conversation and knows only the caller's own tools: a turn is not stored, and calls of the
agent's tools are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.protocol.types import Event, Item, Json

_SAME: Final = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "top_logprobs",
    "prompt_cache_key",
    "safety_identifier",
    "user",
    "metadata",
    "service_tier",
)
"""Fields that both protocols have."""

_REFUSED: Final = {
    "functions": "send the functions as tools",
    "function_call": "send it as tool_choice",
    "audio": "the agent answers with text",
}
"""Fields whose effect a caller would miss."""

_FINISH: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response is incomplete, as a `finish_reason`."""


_PARAGRAPH: Final = "\n\n"

_DETAILS: Final = {
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}
"""The details of a usage, by their names in the Responses protocol."""


def create_body(body: Mapping[str, Json]) -> dict[str, Json]:
    """The create-response body that asks for the same.

    Raises:
        InvalidRequest: A value is malformed; `param` names it.
        UnsupportedOption: A field is not supported; `param` names it.
    """
    for name, instead in _REFUSED.items():
        if body.get(name) is not None:
            raise UnsupportedOption(f"{name} is not accepted: {instead}.", param=name)
    if body.get("n") not in (None, 1):
        raise UnsupportedOption("n must be 1: the agent runs once.", param="n")
    fields: dict[str, Json] = {name: body[name] for name in _SAME if name in body}
    fields |= {"input": list(_items(body.get("messages"))), "store": False}
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    if most is not None:
        fields["max_output_tokens"] = most
    if (effort := body.get("reasoning_effort")) is not None:
        fields["reasoning"] = {"effort": effort}
    if tools := body.get("tools"):
        fields["tools"] = [_flat(row, f"tools[{n}]") for n, row in enumerate(_list(tools, "tools"))]
    if (choice := body.get("tool_choice")) is not None:
        fields["tool_choice"] = choice if isinstance(choice, str) else _flat(choice, "tool_choice")
    if text := _text(body):
        fields["text"] = text
    return fields


def _text(body: Mapping[str, Json]) -> dict[str, Json]:
    text: dict[str, Json] = {}
    if (wanted := body.get("response_format")) is not None:
        wanted = _mapping(wanted, "response_format")
        schema = wanted.get("json_schema")
        text["format"] = {"type": wanted.get("type"), **(_mapping(schema, "response_format") if schema else {})}
    if (verbosity := body.get("verbosity")) is not None:
        text["verbosity"] = verbosity
    return text


def _flat(value: Json, param: str) -> dict[str, Json]:
    """A tool, or a choice of one, without the object around a function's fields."""
    row = _mapping(value, param)
    function = row.get("function")
    return {"type": "function", **_mapping(function, f"{param}.function")} if function is not None else dict(row)


def _items(value: Json) -> Iterator[Item]:
    messages = _list(value, "messages")
    if not messages:
        raise InvalidRequest("messages must be a non-empty array.", param="messages")
    for n, row in enumerate(messages):
        param = f"messages[{n}]"
        message = _mapping(row, param)
        role = message.get("role")
        if role == "tool":
            output = _content(message.get("content", ""), "input_text", f"{param}.content")
            yield {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}
        elif role == "assistant":
            yield from _said(message, param)
        elif role in ("user", "system", "developer"):
            content = _content(message.get("content"), "input_text", f"{param}.content")
            yield {"type": "message", "role": role, "content": content}
        else:
            raise InvalidRequest(f"{param}.role {role!r:.80} is not a role of a message.", param=f"{param}.role")


def _said(message: Mapping[str, Json], param: str) -> Iterator[Item]:
    if content := message.get("content"):
        given: Json = [{"type": "text", "text": content}] if isinstance(content, str) else content
        yield {"type": "message", "role": "assistant", "content": _content(given, "output_text", f"{param}.content")}
    for n, row in enumerate(_list(message.get("tool_calls") or [], f"{param}.tool_calls")):
        call = _mapping(row, f"{param}.tool_calls[{n}]")
        function = _mapping(call.get("function"), f"{param}.tool_calls[{n}].function")
        named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
        yield {"type": "function_call", "call_id": call.get("id"), **named}


def _content(value: Json, text_type: str, param: str) -> Json:
    if isinstance(value, str):
        return value
    return [_part(row, text_type, f"{param}[{n}]") for n, row in enumerate(_list(value, param))]


def _part(value: Json, text_type: str, param: str) -> dict[str, Json]:
    part = _mapping(value, param)
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": text_type, "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "image_url":
        image = _mapping(part.get("image_url"), f"{param}.image_url")
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
    if kind == "file":
        return {"type": "input_file", **_mapping(part.get("file"), f"{param}.file")}
    raise InvalidRequest(f"{param}.type {kind!r:.80} is not a type of content.", param=f"{param}.type")


def _mapping(value: Json, param: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    return cast("dict[str, Json]", value)


def _list(value: Json, param: str) -> list[Json]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{param} must be an array.", param=param)
    return cast("list[Json]", value)


def usage_of(response: Mapping[str, Json]) -> dict[str, Json] | None:
    """The token counts of a response under the names of Chat Completions; `None` where they are not known."""
    if (usage := response.get("usage")) is None:
        return None
    counts: dict[str, Json] = {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
    details = (
        ("prompt_tokens_details", "input_tokens_details"),
        ("completion_tokens_details", "output_tokens_details"),
    )
    return counts | {name: usage[own] for name, own in details if usage.get(own)}


@dataclass(slots=True)
class ChatAnswer:
    """One answer: the deltas of its events, and the whole message of its response.

    Args:
        tools: The names of the caller's tools: calls of others are the agent's own and are not shown.
        response: The response in the last event that carried one.
    """

    tools: Collection[str]
    response: Mapping[str, Json] = field(default_factory=dict[str, Json])
    _has_text: bool = False
    _calls: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, event: Event) -> dict[str, Json] | None:
        """The delta that an event adds; `None` where it adds nothing."""
        if (response := event.get("response")) is not None:
            self.response = response
        handler = _DELTAS.get(event["type"])
        return handler(self, event) if handler is not None else None

    @property
    def finish_reason(self) -> str:
        """Why the answer ended."""
        details = cast("Mapping[str, str] | None", self.response.get("incomplete_details"))
        if self.response.get("status") == "incomplete" and details:
            return _FINISH.get(details.get("reason", ""), "stop")
        return "tool_calls" if any(map(self._is_callers, self._output)) else "stop"

    def message(self) -> dict[str, Json]:
        """The whole message."""
        message: dict[str, Json] = {
            "role": "assistant",
            "content": self._joined("message", "content", "text"),
            "refusal": self._joined("message", "content", "refusal"),
        }
        thoughts = self._joined("reasoning", "content", "text") or self._joined("reasoning", "summary", "text")
        if thoughts:
            message["reasoning_content"] = thoughts
        if calls := [_call(item) for item in self._output if self._is_callers(item)]:
            message["tool_calls"] = calls
        return message

    @property
    def _output(self) -> Sequence[Item]:
        return cast("Sequence[Item]", self.response.get("output") or ())

    def _is_callers(self, item: Item) -> bool:
        return item.get("type") == "function_call" and item.get("name") in self.tools

    def _joined(self, kind: str, place: str, name: str) -> str | None:
        items = (item for item in self._output if item.get("type") == kind)
        texts = ("".join(part.get(name) or "" for part in item.get(place) or ()) for item in items)
        return _PARAGRAPH.join(text for text in texts if text) or None

    def text(self, event: Event) -> dict[str, Json]:
        """A piece of the answer."""
        self._has_text = True
        return {"content": event["delta"]}

    def refused(self, event: Event) -> dict[str, Json]:
        """A piece of a refusal."""
        return {"refusal": event["delta"]}

    def thought(self, event: Event) -> dict[str, Json]:
        """A piece of the reasoning, under the name that chat front ends read."""
        return {"reasoning_content": event["delta"]}

    def began(self, event: Event) -> dict[str, Json] | None:
        """The beginning of a call of one of the caller's tools; a further message begins a paragraph."""
        item = event["item"]
        if item.get("type") == "message" and self._has_text:
            return {"content": _PARAGRAPH}
        if not self._is_callers(item):
            return None
        n = self._calls[item["id"]] = len(self._calls)
        return {"tool_calls": [{"index": n, **_call({**item, "arguments": ""})}]}

    def argued(self, event: Event) -> dict[str, Json] | None:
        """A piece of the arguments of a call."""
        n = self._calls.get(event["item_id"])
        return {"tool_calls": [{"index": n, "function": {"arguments": event["delta"]}}]} if n is not None else None


def _call(item: Item) -> dict[str, Json]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


_DELTAS: Final[Mapping[str, Callable[[ChatAnswer, Event], dict[str, Json] | None]]] = {
    "response.output_text.delta": ChatAnswer.text,
    "response.refusal.delta": ChatAnswer.refused,
    "response.reasoning_text.delta": ChatAnswer.thought,
    "response.reasoning_summary_text.delta": ChatAnswer.thought,
    "response.output_item.added": ChatAnswer.began,
    "response.function_call_arguments.delta": ChatAnswer.argued,
}
"""Event to the delta of a chunk. Every other event has none."""
