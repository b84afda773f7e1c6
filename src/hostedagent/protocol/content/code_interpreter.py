"""Code that the model's service runs: `code_interpreter_call`, with the streamed code and its outputs.

OpenAI's client sends an empty result before the code and none at the end. A result therefore ends the call only if it
has content; otherwise the author's next part ends a call whose code is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from agent_framework import Content, get_namespaced_value

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.calls import (
    CallItem,
    CallStatus,
    raw_text,
    raw_value,
    read_call_id,
    read_list,
    read_status,
    read_text,
)
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part
from hostedagent.protocol.content.outputs import contents_of
from hostedagent.protocol.content.parts import write_part
from hostedagent.protocol.types import Event, Item, MutableItem
from hostedagent.protocol.values import is_mapping
from hostedagent.protocol.wire import Characters, wire_text

_CONTENTS: Final = ("code_interpreter_tool_call", "code_interpreter_tool_result")


def read(item: Item) -> Sequence[Content]:
    """Read the code, and the outputs if the item has them."""
    call_id, status = read_call_id(item), read_status(item)
    code, container = read_text(item, "code"), read_text(item, "container_id")
    call = Content.from_code_interpreter_tool_call(
        call_id=call_id,
        inputs=[Content.from_text(code)] if code else [],
        status=status,
        additional_properties={"openai": {"container_id": container}} if container else None,
    )
    outputs = read_list(item, "outputs")
    if outputs is None:
        return [call]
    read_outputs = [_read_output(output, f"outputs[{n}]") for n, output in enumerate(outputs)]
    return [
        call,
        Content.from_code_interpreter_tool_result(call_id=call_id, outputs=read_outputs, status=status or "completed"),
    ]


def _read_output(output: object, param: str) -> Content:
    if not is_mapping(output):
        raise InvalidRequest(f"{param} must be an object with a type.", param=param)
    match output.get("type"), output.get("logs"), output.get("url"):
        case "logs", str(logs), _:
            return Content.from_text(logs)
        case "image", _, str(url) if url:
            return Content.from_uri(url, media_type=None if url.startswith("data:") else "image/*")
        case ("logs" | "image") as kind, _, _:
            name = "logs" if kind == "logs" else "url"
            raise InvalidRequest(f"{param}.{name} must be a string.", param=f"{param}.{name}")
        case kind, _, _:
            return Content.from_text(f"[{kind} output that this agent cannot read]")


def key(part: Part) -> Key:
    """A call and its results are one item."""
    content = part.content
    ident = content.call_id or get_namespaced_value(content.additional_properties, "openai", "item_id")
    return ("code_interpreter", ident if isinstance(ident, str) else "")


class OpenCode(CallItem):
    """A run of code."""

    prefix: ClassVar[str] = "ci"
    item_type: ClassVar[str] = "code_interpreter_call"
    outlasts = frozenset(_CONTENTS)

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._chunks: list[str] = []
        self._characters = Characters()
        self._is_sealed = False
        self._container = ""
        self._outputs: list[MutableItem] | None = None

    def ends_before(self, part: Part) -> bool:
        """Complete code may never get a result, so the author's next part ends it, unless it is another run."""
        return self._is_sealed and part.content.type not in _CONTENTS and OpenItem.ends_before(self, part)

    def ends_at_finish(self, message_id: str | None) -> bool:
        """A call whose code is incomplete may continue in the next message."""
        return self._is_sealed and OpenItem.ends_at_finish(self, message_id)

    def take(self, part: Part) -> Iterator[Event]:
        """Take code or results."""
        content = part.content
        self._container = self._container or _container(content)
        yield from self.begin()
        if content.type == "code_interpreter_tool_call":
            yield from self._write(_code(content), replaces=part.replaces)
            return
        outputs = [_output(output) for output in contents_of(content.outputs)]
        ended = content.status in ("completed", "failed", "incomplete")
        if outputs or (ended and content.outputs is not None):
            self._outputs = outputs
        self.has_result = bool(outputs) or ended

    def _write(self, code: str, *, replaces: bool) -> Iterator[Event]:
        said = "".join(self._chunks)
        if replaces:
            code, self._characters.half = wire_text(code), ""  # The snapshot repeats the character whole.
            code = code[len(said) :] if code.startswith(said) else ""
        if not self._is_sealed:
            yield from self._say(self._characters.take(code))
        if replaces:
            yield from self._seal()

    def _say(self, code: str) -> Iterator[Event]:
        if code:
            self._chunks.append(code)
            yield self.opened.event("response.code_interpreter_call_code.delta", delta=code)

    def _seal(self) -> Iterator[Event]:
        if self._is_sealed:
            return
        yield from self._say(self._characters.rest())
        self._is_sealed = True
        if self._chunks:
            yield self.opened.event("response.code_interpreter_call_code.done", code="".join(self._chunks))
        yield self.step("interpreting")

    def finish(self, status: CallStatus) -> Iterator[Event]:
        """The end of the code, if no snapshot ended it."""
        yield from self._seal()

    def wire(self, status: CallStatus) -> MutableItem:
        """The item with its outputs."""
        return {
            "type": "code_interpreter_call",
            "status": status,
            "container_id": self._container,
            "code": "".join(self._chunks),
            "outputs": self._outputs,
        }


def _code(content: Content) -> str:
    """The code of a call. Anthropic's client gives the tool's input as a Python literal that contains the code."""
    tool_input = raw_value(content, "input")
    if is_mapping(tool_input):
        code = tool_input.get("code")
        return code if isinstance(code, str) else ""
    return "".join(text.text or "" for text in contents_of(content.inputs) if text.type == "text")


def _container(content: Content) -> str:
    known = get_namespaced_value(content.additional_properties, "openai", "container_id")
    return known if isinstance(known, str) else raw_text(content, "container_id")


def _output(content: Content) -> MutableItem:
    match content.type:
        case "data" | "uri":
            return {"type": "image", "url": content.uri}
        case "text" | "error":
            # The message of an error content is the error output of the code.
            return {
                "type": "logs",
                "logs": wire_text((content.text if content.type == "text" else content.message) or ""),
            }
        case "hosted_file":
            return {"type": "logs", "logs": f"[file {content.file_id}]"}
        case _:
            return {"type": "logs", "logs": write_part(content).get("text", f"[{content.type}]")}


CODE_INTERPRETER = Codec(
    family="code_interpreter",
    content_types=_CONTENTS,
    item_types={"code_interpreter_call": "assistant"},
    read=read,
    open=OpenCode,
    key=key,
    limits=(
        "Anthropic's client does not stream the code of a code execution: `code` is empty.",
        "A file that the code created is named in a `logs` output: a code interpreter call has no field for file ids.",
        "Model clients do not send code interpreter calls back to the model.",
    ),
)
