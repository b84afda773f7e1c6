"""Creates the first input of a workflow: messages, a string, or a value parsed from JSON.

The start executor, or the function of a functional workflow, declares its input type. If it takes messages, it gets the
transcript. Otherwise it gets only the new input: a string unchanged; a dataclass, a pydantic model or another type
parsed from JSON text.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from inspect import Parameter
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from agent_framework import Message

from hostedagent.agents.workflow_types import answer_schema, coerce
from hostedagent.errors import ConfigurationError, InvalidRequest
from hostedagent.protocol.json import encode
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import rows_of

MESSAGES: Final = list[Message]
"""Start type of a workflow that takes messages."""

_TRANSCRIPTS: Final = (MESSAGES, list[str | Message], Any, object)
_UNIONS: Final = (Union, UnionType)
_TAKES_A_VALUE: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def start_type(workflow: object) -> Any:
    """The start type of a workflow: `MESSAGES`, `Message`, `str` or a type that is parsed from JSON."""
    from agent_framework import AgentExecutorRequest, AgentExecutorResponse  # Most hosts have no workflow.

    start = getattr(workflow, "get_start_executor", None)
    declared: list[Any] = [*(cast("Any", start)().input_types if callable(start) else _parameter(workflow))]
    declared = [kind for row in declared for kind in (get_args(row) if get_origin(row) in _UNIONS else (row,))]
    if callable(start) and (wrong := next((kind for kind in declared if is_typeddict(kind)), None)) is not None:
        raise ConfigurationError(
            f"Agent Framework cannot give a TypedDict to an executor, and the workflow starts with {wrong.__name__}: "
            "use a dataclass, a pydantic model or dict."
        )
    if any(kind in _TRANSCRIPTS for kind in declared):
        return MESSAGES
    plain = [kind for kind in declared if kind not in (AgentExecutorRequest, AgentExecutorResponse)]
    for kind in (str, Message):
        if kind in plain:
            return kind
    return cast("Any", Union)[tuple(plain)] if plain else MESSAGES


def _parameter(workflow: object) -> Sequence[Any]:
    """The start type of a functional workflow; `str` if it is not annotated or is inside an agent."""
    function: Any = getattr(workflow, "__wrapped__", None)
    if function is None:
        return (str,)
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    names = [
        row.name
        for row in inspect.signature(function).parameters.values()
        if row.kind in _TAKES_A_VALUE and row.name != "ctx" and not _is_context(hints.get(row.name))
    ]
    if not names or not _is_async(function, hints.get("return")):
        name = getattr(function, "__name__", "run")
        raise ConfigurationError(
            f"The workflow function {name} {'is not async' if names else 'takes no input'}, so Agent Framework cannot "
            f"run it. Write async def {name}(message: str), or give message the type of the input."
        )
    return [hints.get(names[0], str)]


def _is_async(function: Any, returned: Any) -> bool:
    calls = (inspect.unwrap(function), getattr(function, "__call__", None))  # noqa: B004 - an object with the method
    return any(inspect.iscoroutinefunction(row) for row in calls) or hasattr(
        get_origin(returned) or returned, "__await__"
    )


def _is_context(kind: object) -> bool:
    from agent_framework import RunContext  # Most workflows are graphs.

    return kind is RunContext


def read_start(kind: Any, items: Sequence[Item], first: int = 0) -> Any:
    """The value that starts a workflow, from the new input items; `None` if it takes the messages themselves.

    Raises:
        InvalidRequest: The input does not have that type; `param` names the field.
    """
    if kind in (MESSAGES, Message):
        return None
    said = [(n, item) for n, item in enumerate(items) if n >= first and item.get("type") == "message" and _texts(item)]
    if not said:
        raise InvalidRequest(
            f"input: the workflow starts with {_wanted(kind)}, and the input has no text.", param="input"
        )
    param = f"input[{said[-1][0]}].content"
    text = "\n".join("".join(_texts(item)) for _, item in said)
    if kind is str:
        return text
    try:
        if (value := coerce(kind, text, param)) is None:  # Agent Framework runs nothing without a value.
            raise InvalidRequest(f"{param} must not be null.", param=param)
    except InvalidRequest as error:
        raise InvalidRequest(f"{error.message} The workflow starts with {_wanted(kind)}.", param=error.param) from None
    return value


def _texts(item: Item) -> list[str]:
    content: Json = item.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in rows_of(content) if isinstance(part.get("text"), str)]


def _wanted(kind: Any) -> str:
    schema = answer_schema(kind)
    return f"JSON of this schema: {encode(schema).decode()}" if schema and kind is not str else "a text"
