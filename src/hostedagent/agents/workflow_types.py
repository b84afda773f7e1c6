"""Converts answers to a workflow's requests: a JSON schema for the caller, a reference in records, a value for the run.

A type is recorded by module and name, and resolved among the modules that the process has already imported. Agent
Framework's messages are not pydantic types: on the wire they are strings.
"""

from __future__ import annotations

import sys
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Final,
    NotRequired,
    Required,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from agent_framework import Content, Message
from pydantic import (
    BeforeValidator,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import from_json

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_array, is_mapping, rows_of

TEXTS: Final = (str, Message, Content, list[Message])
"""Answer types that accept plain text."""


def describe(kind: Any) -> Json:
    """A reference to a type, as JSON; `None` if it cannot be referenced."""
    if kind in (None, types.NoneType):
        return {"type": "types:NoneType"}
    if origin := get_origin(kind):
        outer = {"type": "typing:Union"} if origin in (Union, types.UnionType) else describe(origin)
        arguments = [describe(argument) for argument in get_args(kind)]
        return None if outer is None or None in arguments else {**outer, "of": arguments}
    if not isinstance(kind, type) or "<locals>" in kind.__qualname__:
        return None
    return {"type": f"{kind.__module__}:{kind.__qualname__}"}


def resolve(description: Json) -> Any:
    """The referenced type; `None` if this process has not imported it."""
    if not is_mapping(description):
        return None
    arguments = [resolve(argument) for argument in description.get("of", ())]
    if None in arguments:
        return None
    if description["type"] == "typing:Union":
        return Union[tuple(arguments)]  # noqa: UP007
    module, _, name = str(description["type"]).partition(":")
    found: object = sys.modules.get(module)
    for step in name.split("."):
        found = getattr(found, step, None)
    if not isinstance(found, type):
        return None
    return cast("Any", found)[tuple(arguments)] if arguments else found


def answer_schema(kind: Any) -> Json:
    """The JSON schema of an answer; an empty one, which allows anything, if its type has none."""
    adapter = _adapter(kind)
    try:
        return adapter.json_schema() if adapter is not None else {}
    except PydanticUserError:
        return {}


def coerce(kind: Any, output: Json, param: str) -> Any:
    """Parse an answer.

    Args:
        kind: The type that it must have; `None` if unknown, when any JSON or text is accepted.
        output: The `output` of the item: text, JSON as text, or parts with text.

    Raises:
        InvalidRequest: The answer does not have that type; `param` names the field.
    """
    text = _text(output, param)
    if kind in (str, Message, Content):
        return _shaped(kind, text, param)
    value = _json(text)
    if kind == list[Message] and not is_array(value):
        value = [text]
    return value if kind is None else _shaped(kind, value, param)


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text


def _text(output: Json, param: str) -> str:
    if isinstance(output, str):
        return output
    parts = rows_of(output)
    if not parts or any(not isinstance(part.get("text"), str) for part in parts):
        raise InvalidRequest(f"{param} must be a string, or an array of parts with text.", param=param)
    return "".join(part["text"] for part in parts)


def _shaped(kind: Any, value: Any, param: str) -> Any:
    adapter = _adapter(kind)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        raise InvalidRequest(f"{param}{path}: {first['msg']}.", param=f"{param}{path}") from None


def _adapter(kind: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(_readable(kind))
    except (PydanticSchemaGenerationError, PydanticUserError, NameError, TypeError):
        return None


def _readable(kind: Any) -> Any:
    """The type with `str` in place of messages, so that pydantic can validate it."""
    if kind is Message:
        return Annotated[Any, BeforeValidator(_message), _TEXT]
    if kind is Content:
        return Annotated[Any, BeforeValidator(_content), _TEXT]
    if origin := get_origin(kind):
        arguments = tuple(_readable(argument) for argument in get_args(kind))
        return Union[arguments] if origin in (Union, types.UnionType) else origin[arguments]  # noqa: UP007
    if is_dataclass(kind) and isinstance(kind, type):
        return _readable_dataclass(kind)
    return _readable_typed_dict(kind) if is_typeddict(kind) else kind


def _readable_dataclass(kind: type) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    shapes = {name: _readable(hint) for name, hint in hints.items()}
    if shapes == hints:
        return kind
    return _built(kind, {row.name: (shapes[row.name], _default(row)) for row in fields(cast("Any", kind))})


def _readable_typed_dict(kind: Any) -> Any:
    """Before Python 3.12, pydantic reads no TypedDict of `typing`."""
    shapes: dict[str, Any] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        mark = get_origin(hint)  # `__required_keys__` misses a mark in postponed annotations.
        is_required = mark is Required or (mark is not NotRequired and name in kind.__required_keys__)
        shape = get_args(hint)[0] if mark in (Required, NotRequired) else hint
        shapes[name] = (_readable(shape), ... if is_required else None)
    return _built(kind, shapes)


def _built(kind: Any, shapes: dict[str, Any]) -> Any:
    """A type that reads the fields by their shapes and defaults, and builds the kind from those that are given."""
    model: Any = create_model(kind.__name__, **shapes)

    def build(value: object) -> object:
        read = model.model_validate(value)
        return kind(**{name: getattr(read, name) for name in shapes if name in read.model_fields_set})

    return Annotated[Any, BeforeValidator(build), _SchemaOf(model)]


@dataclass(frozen=True, slots=True)
class _SchemaOf:
    """The JSON schema of a model, whose definitions become those of the schema around it."""

    model: Any

    def __get_pydantic_json_schema__(self, core: object, handler: Any) -> Any:
        return handler(self.model.__pydantic_core_schema__)


def _default(row: Any) -> Any:
    return ... if row.default is MISSING and row.default_factory is MISSING else None


def _message(value: object) -> Message:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return Message("user", [value])


def _content(value: object) -> Content:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return Content.from_text(value)


_TEXT: Final = WithJsonSchema({"type": "string"})
