"""Shells and patches: commands that the model requests, and their output.

`shell_call` and its output have their own contents in Agent Framework and are sent back to the provider unchanged.
`local_shell_call` and `apply_patch_call` have none: they are read as calls of functions, which every provider accepts
and which OpenAI's client turns back into local shell items.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from agent_framework import Content

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.checks import array, mapping, optional_number, required_text, required_texts
from hostedagent.protocol.content.calls import read_text
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part, recall, whole
from hostedagent.protocol.content.outputs import contents_of
from hostedagent.protocol.content.parts import write_part
from hostedagent.protocol.content.provider_items import call_status, provider_id, provider_item
from hostedagent.protocol.json import decode_text
from hostedagent.protocol.types import Item, Json, MutableItem
from hostedagent.protocol.values import fields_of
from hostedagent.protocol.wire import wire_json, wire_text

_LOCAL_OUTPUT: Final = "local_shell_call_output"
_TIMEOUT: Final[Mapping[str, Json]] = {"type": "timeout"}


def read(item: Item) -> Sequence[Content]:
    """Read a call or an output of a shell or of a patch."""
    match item.get("type"):
        case "shell_call":
            return [_read_call(item)]
        case "shell_call_output":
            return [_read_output(item)]
        case "local_shell_call":
            return [_read_local_call(item)]
        case "local_shell_call_output":
            return [_read_local_output(item)]
        case "apply_patch_call":
            return [_read_patch(item)]
        case _:
            return [_read_patch_output(item)]


def _provider_payload(item: Item, call_id: str, **fields: Json) -> MutableItem:
    """The provider's original item: OpenAI's client sends it back, and rejects an incomplete one."""
    payload: MutableItem = {
        "type": item["type"],
        "id": provider_id(item) or item.get("id") or _made_up_id(item, call_id),
        "call_id": call_id,
        "status": call_status(item.get("status")),
        **fields,
    }
    kept = {name: item[name] for name in ("environment", "caller", "max_output_length") if item.get(name) is not None}
    return {**payload, **kept}


def _made_up_id(item: Item, call_id: str) -> str:
    """An id in the provider's format, the same in every turn; a call and its output must not share one."""
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()
    return f"{'sho' if item['type'] == 'shell_call_output' else 'sh'}_{digest[:32]}"


def _read_call(item: Item) -> Content:
    call_id, action = required_text(item, "call_id"), mapping(item.get("action"), "action")
    commands = required_texts(action, "commands", "action.commands")
    limits = {name: optional_number(action, name, f"action.{name}") for name in ("timeout_ms", "max_output_length")}
    wire = {"commands": commands, **_present(limits)}
    return Content.from_shell_tool_call(
        call_id=call_id,
        commands=commands,
        timeout_ms=limits["timeout_ms"],
        max_output_length=limits["max_output_length"],
        status=read_text(item, "status"),
        raw_representation=_provider_payload(item, call_id, action=wire),
    )


def _read_output(item: Item) -> Content:
    call_id = required_text(item, "call_id")
    rows = [mapping(row, f"output[{n}]") for n, row in enumerate(array(item.get("output"), "output"))]
    outputs = [_read_command_output(row, f"output[{n}]") for n, row in enumerate(rows)]
    wire = [_write_command_output(output) for output in outputs]
    return Content.from_shell_tool_result(
        call_id=call_id,
        outputs=outputs,
        max_output_length=optional_number(item, "max_output_length", "max_output_length"),
        raw_representation=_provider_payload(item, call_id, output=wire),
    )


def _read_command_output(row: Mapping[str, Json], param: str) -> Content:
    texts = [row.get("stdout"), row.get("stderr")]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(f"{param} needs stdout and stderr, both strings.", param=param)
    outcome = mapping(row.get("outcome"), f"{param}.outcome")
    match outcome.get("type"):
        case "timeout":
            return Content.from_shell_command_output(stdout=texts[0], stderr=texts[1], timed_out=True)
        case "exit" if (code := optional_number(outcome, "exit_code", f"{param}.outcome.exit_code")) is not None:
            return Content.from_shell_command_output(stdout=texts[0], stderr=texts[1], exit_code=code, timed_out=False)
        case _:
            raise InvalidRequest(
                f"{param}.outcome must be a timeout, or an exit with its exit_code.", param=f"{param}.outcome"
            )


def _read_local_call(item: Item) -> Content:
    call_id, action = required_text(item, "call_id"), mapping(item.get("action"), "action")
    command = required_texts(action, "command", "action.command")
    wire: MutableItem = {"type": "exec", "env": {}, **_present(action)}
    payload = _provider_payload(item, call_id, action=wire)
    openai = {
        "shell_output_type": _LOCAL_OUTPUT,
        "local_shell_call_item_id": payload["id"],
        "local_shell_command_parts": command,
    }
    return Content.from_function_call(
        call_id,
        "local_shell",
        arguments=wire_json({"command": command}),
        informational_only=True,
        hosted=True,
        additional_properties={"openai": openai},
        raw_representation=payload,
    )


def _present(fields: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}


def _read_local_output(item: Item) -> Content:
    """Read the output of a command; the item's only id is that of the call."""
    known = recall(item).get("call_id")
    call_id = known if isinstance(known, str) else required_text(item, "id")
    output = required_text(item, "output", may_be_empty=True)
    try:
        value: object = decode_text(output)
    except ValueError:
        value = None
    openai = {"shell_output_type": _LOCAL_OUTPUT, "local_shell_call_item_id": call_id}
    return Content(
        "function_result",
        call_id=call_id,
        result=value if isinstance(value, dict) else output,
        items=[Content.from_text(output)],
        additional_properties={"openai": openai},
    )


def _read_patch(item: Item) -> Content:
    return Content.from_function_call(
        required_text(item, "call_id"),
        "apply_patch",
        arguments=wire_json(dict(mapping(item.get("operation"), "operation"))),
        informational_only=True,
        hosted=True,
    )


def _read_patch_output(item: Item) -> Content:
    status = required_text(item, "status")
    return Content.from_function_result(required_text(item, "call_id"), result=read_text(item, "output") or status)


def key(part: Part) -> Key:
    """A call and its result are two items; they share the call's id."""
    return ("shell", part.content.type, part.content.call_id or "")


def _write_call(part: Part) -> MutableItem:
    content = part.content
    origin = provider_item(content, "shell_call", "local_shell_call")
    item: MutableItem = {"id": origin.get("id"), "call_id": content.call_id or _new_call_id()}
    if origin.get("type") == "local_shell_call":
        action: Json = {"env": {}, **fields_of(origin.get("action"))}
        return {"type": "local_shell_call", **item, "action": action, "status": call_status(content.status)}
    return {
        "type": "shell_call",
        **item,
        "action": {
            "commands": [wire_text(command) for command in content.commands or ()],
            "timeout_ms": content.timeout_ms,
            "max_output_length": content.max_output_length,
        },
        "environment": origin.get("environment"),
        "status": call_status(content.status),
    }


def _write_result(part: Part) -> MutableItem:
    content = part.content
    origin = provider_item(content, "shell_call_output")
    is_bare = content.type == "shell_command_output"
    outputs = [content] if is_bare else [row for row in contents_of(content.outputs) if row.type != "error"]
    return {
        "type": "shell_call_output",
        "id": origin.get("id"),
        "call_id": content.call_id or _new_call_id(),
        "output": [_write_command_output(output) for output in outputs],
        "max_output_length": content.max_output_length,
        "status": call_status(origin.get("status")),
    }


def _write_command_output(content: Content) -> dict[str, Json]:
    """The output of one command. Other content, such as a file, is named as if it had been printed."""
    if content.type != "shell_command_output":
        part = write_part(content)
        printed = part.get("text") or f"[file {part.get('filename') or part.get('file_id') or content.type}]"
        return {"stdout": printed, "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    outcome = _TIMEOUT if content.timed_out else {"type": "exit", "exit_code": content.exit_code or 0}
    return {
        "stdout": wire_text(content.stdout or ""),
        "stderr": wire_text(content.stderr or ""),
        "outcome": dict(outcome),
    }


def _new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


_open_call = whole("lsh", _write_call)
_open_result = whole("lsho", _write_result)


def open_shell(part: Part, output: Output) -> OpenItem:
    """A call and its result each arrive whole."""
    return (_open_call if part.content.type == "shell_tool_call" else _open_result)(part, output)


SHELL = Codec(
    family="shell",
    content_types=("shell_tool_call", "shell_tool_result", "shell_command_output"),
    item_types={
        "shell_call": "assistant",
        "shell_call_output": "assistant",
        "local_shell_call": "assistant",
        "local_shell_call_output": "tool",
        "apply_patch_call": "assistant",
        "apply_patch_call_output": "tool",
    },
    read=read,
    open=open_shell,
    key=key,
    absent={"stream": "Model clients deliver commands and their output only when they are complete."},
    limits=(
        "The `id` of a `local_shell_call_output` must be the `call_id` of its call, as the protocol requires; the id "
        "of the call's item is not accepted.",
        "`local_shell_call` and `apply_patch_call` have no content in Agent Framework: callers may send them, and the "
        "model sees calls of functions named `local_shell` and `apply_patch`. Agents cannot return patches.",
        "A command with an unknown exit code is sent with the exit code 0.",
    ),
)
