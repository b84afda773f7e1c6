"""Normalization of a request body: the one place that decides what a client may leave out or send as null.

Clients send objects back as their libraries hold them: nulls for every optional field, items without the ids that a
service with `store=false` would not find again, empty strings for options that a user did not fill in. All of this
means "absent". After this module, codecs and options see only fields that carry a value, and each item has the fields
that the protocol requires of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from hostedagent.protocol.content.reasoning import unseal
from hostedagent.protocol.envelope import PRIVATE, public_item
from hostedagent.protocol.ids import derived_item_id
from hostedagent.protocol.types import Json, MutableItem
from hostedagent.protocol.values import is_array, is_object

OPAQUE: Final = frozenset(
    {
        "parameters",
        "schema",
        "json_schema",
        "input_schema",
        "output_schema",
        "structured_inputs",
        "metadata",
        "attributes",
        "headers",
    }
)
"""Fields with values of the application: a null inside them is a value."""

EMPTY_IS_ABSENT: Final[Mapping[str, Json]] = {
    "instructions": "",
    "previous_response_id": "",
    "conversation": "",
    "user": "",
    "model": "",
    "prompt_cache_key": "",
    "safety_identifier": "",
    "agent_session_id": "",
    "context_management": [],
}
"""Options of a request and the empty value that clients send for "not set"."""


class _Id(Struct, frozen=True):
    """An id that an item gets, by what it begins with."""

    prefix: str


_Default = Json | Callable[[], Json] | _Id


ITEM_DEFAULTS: Final[Mapping[str, Mapping[str, _Default]]] = {
    "output_message": {"id": _Id("msg"), "role": "assistant", "status": "completed"},
    "reasoning": {"id": _Id("rs"), "summary": lambda: list[Json]()},
    "code_interpreter_call": {
        "id": _Id("ci"),
        "status": "completed",
        "container_id": "",
        "code": None,
        "outputs": None,
    },
    "image_generation_call": {"id": _Id("ig"), "status": "completed", "result": None},
    "web_search_call": {
        "id": _Id("ws"),
        "status": "completed",
        "action": lambda: dict[str, Json](type="search", query=""),
    },
    "file_search_call": {"id": _Id("fs"), "status": "completed", "queries": lambda: list[Json]()},
    "tool_search_call": {"id": _Id("ts"), "arguments": lambda: dict[str, Json]()},
    "tool_search_output": {"id": _Id("tso"), "tools": lambda: list[Json]()},
    "mcp_call": {"id": _Id("mcp"), "arguments": "{}"},
    "mcp_list_tools": {"id": _Id("mcpl"), "tools": lambda: list[Json]()},
    "mcp_approval_request": {"id": _Id("mcpr"), "arguments": "{}"},
    "local_shell_call": {"id": _Id("lsh"), "status": "completed"},
    "shell_call": {"id": _Id("sh")},
    "shell_call_output": {"id": _Id("sho")},
    "apply_patch_call": {"status": "completed"},
    "apply_patch_call_output": {"status": "completed"},
    "computer_call": {"id": _Id("cu"), "status": "completed", "pending_safety_checks": lambda: list[Json]()},
    "program": {"id": _Id("prog")},
    "program_output": {"id": _Id("progo"), "status": "completed"},
}
"""Item type to the required fields that clients leave out, and what stands for each of them."""

_SHELL_ACTION: Final[Mapping[str, _Default]] = {"type": "exec", "env": lambda: dict[str, Json]()}

ANNOTATION_DEFAULTS: Final[Mapping[str, Mapping[str, _Default]]] = {
    "url_citation": {"title": "", "start_index": 0, "end_index": 0},
    "file_citation": {"filename": "", "index": 0},
    "file_path": {"index": 0},
    "container_file_citation": {"filename": "", "start_index": 0, "end_index": 0},
}
"""Annotation type to the required fields that clients leave out of it."""

REFERENCES: Final = frozenset({"image_generation_call"})
"""Item types that clients send as nothing but a type and an id when they mean the stored item."""


def normalize_body(payload: Mapping[str, Json], *, has_nulls: bool) -> Mapping[str, Json]:
    """The body without what only looks like a value, and with its input items complete.

    Args:
        has_nulls: Whether a null may be in it; looking for them costs a walk over the whole body.

    Returns:
        `payload` itself when nothing had to be changed.
    """
    if has_nulls:
        payload = without_nulls(payload)
    if any(payload[name] == EMPTY_IS_ABSENT[name] for name in EMPTY_IS_ABSENT.keys() & payload.keys()):
        payload = {name: row for name, row in payload.items() if not _is_empty(name, row)}
    rows = payload.get("input")
    if not is_array(rows):
        return payload
    counts: Counter[str] = Counter()
    complete = [normalize_item(row, counts) for row in rows]
    if all(new is old for new, old in zip(complete, rows, strict=True)):
        return payload
    return {**payload, "input": complete}


def normalize_item(value: Json, counts: Counter[str]) -> Json:
    """An input item with its type and the fields that its type requires; `value` itself when it has them.

    Args:
        counts: The number of uses of each id in this request.
    """
    if not is_object(value):
        return value
    item = value
    if PRIVATE in item:
        item = dict(public_item(item))
    if "type" not in item and (typed := _type_of(item)) is not None:
        item = {**item, "type": typed}
    kind = item.get("type")
    if not isinstance(kind, str):
        return item
    if kind in REFERENCES and set(item) == {"type", "id"}:
        return {"type": "item_reference", "id": item["id"]}
    repair = _REPAIRS.get(kind)
    item = repair(item) if repair is not None else item
    defaults = ITEM_DEFAULTS.get(kind, {})
    if "id" not in item and isinstance(default := defaults.get("id"), _Id):
        item = {**item, "id": _new_id(default.prefix, item, counts)}
    return _completed(item, defaults)


def _new_id(prefix: str, item: MutableItem, counts: Counter[str]) -> str:
    ident = derived_item_id(prefix, item)
    counts[ident] += 1
    return ident if counts[ident] == 1 else derived_item_id(prefix, item, counts[ident])


def _repair_message(item: MutableItem) -> MutableItem:
    parts = item.get("content")
    if not is_array(parts):
        return item
    complete = [_part(part) for part in parts]
    is_same = all(new is old for new, old in zip(complete, parts, strict=True))
    return item if is_same else {**item, "content": complete}


def _repair_reasoning(item: MutableItem) -> MutableItem:
    """Without an encrypted form that no provider would accept, because the id that belongs to it is gone."""
    encrypted = item.get("encrypted_content")
    if "id" in item or not isinstance(encrypted, str) or unseal(encrypted) is not None:
        return item
    return {name: row for name, row in item.items() if name != "encrypted_content"}


def _repair_mcp_call(item: MutableItem) -> MutableItem:
    """With its error as the object of the Open Responses schema; OpenAI's library has a string."""
    error = item.get("error")
    if not isinstance(error, str):
        return item
    return {**item, "error": {"type": "mcp_tool_execution_error", "content": error}}


def _repair_shell_call(item: MutableItem) -> MutableItem:
    action = item.get("action")
    complete = _completed(action, _SHELL_ACTION) if is_object(action) else action
    return item if complete is action else {**item, "action": complete}


def _repair_shell_output(item: MutableItem) -> MutableItem:
    """With the id of its call as its own, which the protocol asks for; clients send it as `call_id`."""
    return item if "id" in item or not item.get("call_id") else {**item, "id": item["call_id"]}


_REPAIRS: Final[Mapping[str, Callable[[MutableItem], MutableItem]]] = {
    "message": _repair_message,
    "output_message": _repair_message,
    "reasoning": _repair_reasoning,
    "mcp_call": _repair_mcp_call,
    "local_shell_call": _repair_shell_call,
    "local_shell_call_output": _repair_shell_output,
}
"""Item type to what is corrected inside its items before the defaults are filled in."""


def _part(value: Json) -> Json:
    """A content part whose citations have the fields that they require."""
    if not is_object(value):
        return value
    annotations = value.get("annotations")
    if not annotations or not is_array(annotations):
        return value
    return {**value, "annotations": [_annotation(row) for row in annotations]}


def _annotation(value: Json) -> Json:
    if not is_object(value):
        return value
    return _completed(value, ANNOTATION_DEFAULTS.get(str(value.get("type")), {}))


def _completed(value: MutableItem, defaults: Mapping[str, _Default]) -> MutableItem:
    if not defaults:
        return value
    missing = {
        name: _default(default)
        for name, default in defaults.items()
        if name not in value and not isinstance(default, _Id)
    }
    return {**value, **missing} if missing else value


def without_nulls(value: Json) -> Json:
    """A JSON value without the fields that are null, at any depth but inside `OPAQUE` fields and in arrays."""
    if is_object(value):
        return {name: row if name in OPAQUE else without_nulls(row) for name, row in value.items() if row is not None}
    if is_array(value):
        return [without_nulls(row) if isinstance(row, dict | list) else row for row in value]
    return value


def _is_empty(name: str, value: Json) -> bool:
    return name in EMPTY_IS_ABSENT and value == EMPTY_IS_ABSENT[name]


def _type_of(item: Mapping[str, Json]) -> str | None:
    """The type of an item that names none: a message has a role, a reference is nothing but an id."""
    if "role" in item:
        return "message"
    return "item_reference" if set(item) == {"id"} else None


def _default(default: _Default) -> Json:
    return default() if callable(default) else default
