"""The options table: every field of the protocol has one verdict, and forwarded ones an Agent Framework name.

Values that are forwarded are checked here, because the model's service would refuse them only in the middle of a
stream. Values of fields that the host fixes have no effect and are not judged. `client_options` then selects the
options that a chat client supports.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct, field

from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.options import CallerPolicy
from hostedagent.protocol.checks import Check, flag, integer, mapping, number, one_of, optional, text, texts
from hostedagent.protocol.request.tools import CallerTools, parse_tools
from hostedagent.protocol.types import Json

Verdict = Literal["forwarded", "fixed", "refused", "protocol"]
"""Forwarded to the run, fixed by the host (accepted without effect on the run), refused with 400, or read elsewhere."""


class RunOptions(Struct, frozen=True):
    """The options of a request.

    Args:
        chat: Agent Framework chat options, by their names in `ChatOptions` and its extensions.
        instructions: Instructions that are passed on as the caller's words, in front of the conversation. They are
            not stored: each turn brings its own.
        echo: The response fields that repeat the request.
    """

    chat: Mapping[str, Json] = field(default_factory=dict[str, Json])
    instructions: str | None = None
    tools: CallerTools = field(default_factory=CallerTools)
    echo: Mapping[str, Json] = field(default_factory=dict[str, Json])


class OptionRow(Struct, frozen=True):
    """One field: its verdict, its name for Agent Framework, how it is checked, and why."""

    verdict: Verdict
    option: str | None = None
    check: Check[Json] | None = None
    why: str = ""


def includable(value: Json, param: str) -> Json:
    """An array of what a response may include beside what it has anyway."""
    for n, row in enumerate(texts(value, param)):
        _INCLUDABLE(row, f"{param}[{n}]")
    return value


def _reasoning(value: Json, param: str) -> Json:
    fields = {key: row for key, row in mapping(value, param).items() if row is not None}
    efforts = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
    if "effort" in fields:
        efforts(fields["effort"], f"{param}.effort")
    for name in ("summary", "generate_summary"):
        if name in fields:
            one_of("auto", "concise", "detailed")(fields[name], f"{param}.{name}")
    if "context" in fields:
        one_of("auto", "current_turn", "all_turns")(fields["context"], f"{param}.context")
    return fields


_INCLUDABLE: Final = one_of(
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)


_MOST: Final = 2**31 - 1
_FORMAT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLICY: Final = "allow it with CallerPolicy"

OPTIONS: Final[Mapping[str, OptionRow]] = {
    "temperature": OptionRow("forwarded", "temperature", number(0, 2)),
    "top_p": OptionRow("forwarded", "top_p", number(0, 1)),
    "presence_penalty": OptionRow("forwarded", "presence_penalty", number(-2, 2)),
    "frequency_penalty": OptionRow("forwarded", "frequency_penalty", number(-2, 2)),
    "max_output_tokens": OptionRow("forwarded", "max_tokens", integer(1, _MOST)),
    "parallel_tool_calls": OptionRow("forwarded", "allow_multiple_tool_calls", flag),
    "reasoning": OptionRow("forwarded", "reasoning", _reasoning),
    "truncation": OptionRow("forwarded", "truncation", one_of("auto", "disabled")),
    "include": OptionRow("forwarded", "include", includable),
    "max_tool_calls": OptionRow("forwarded", "max_tool_calls", integer(1, _MOST)),
    "top_logprobs": OptionRow("forwarded", "top_logprobs", integer(0, 20)),
    "prompt_cache_key": OptionRow("forwarded", "prompt_cache_key", text),
    "safety_identifier": OptionRow("forwarded", "safety_identifier", text),
    "user": OptionRow("forwarded", "user", text),
    "tools": OptionRow("forwarded", "tools", why="see CallerPolicy.allow_function_tools and allow_server_tools"),
    "tool_choice": OptionRow("forwarded", "tool_choice"),
    "text": OptionRow("forwarded", "response_format", why="text.format; text.verbosity becomes verbosity"),
    "model": OptionRow("fixed", "model", text, why=f"the developer chooses the model; {_POLICY}"),
    "instructions": OptionRow("forwarded", "instructions", text, why="see CallerPolicy.instructions"),
    "service_tier": OptionRow("fixed", why="it decides what a turn costs"),
    "metadata": OptionRow("fixed", why="kept on the response and in current_turn(), not sent to the model's service"),
    "stream_options": OptionRow("fixed", why="it concerns the wire between caller and host, which the host decides"),
    "moderation": OptionRow("fixed", why="the developer decides what the model's service checks"),
    "prompt_cache_options": OptionRow("fixed", why="it decides what a turn costs; prompt_cache_key is forwarded"),
    "prompt_cache_retention": OptionRow("fixed", why="it decides what a turn costs; prompt_cache_key is forwarded"),
    "structured_inputs": OptionRow("fixed", why="they fill in a stored prompt, and the developer writes the prompt"),
    "prompt": OptionRow("refused", why="a stored prompt would replace the developer's instructions"),
    "input": OptionRow("protocol"),
    "stream": OptionRow("protocol"),
    "store": OptionRow("protocol"),
    "background": OptionRow("protocol"),
    "previous_response_id": OptionRow("protocol"),
    "conversation": OptionRow("protocol"),
    "context_management": OptionRow("protocol"),
    "response_id": OptionRow("refused", why="the host chooses the ids of its responses"),
    "agent": OptionRow("fixed", why="the host serves its own agent; agent_reference is repeated in the response"),
    "agent_reference": OptionRow("protocol"),
    "agent_session_id": OptionRow("protocol"),
}
"""Request field to its row. Fields that are not here are ignored and never reach a client of a model."""

_ECHOED: Final = frozenset(
    {
        "model",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "max_output_tokens",
        "max_tool_calls",
        "parallel_tool_calls",
        "reasoning",
        "truncation",
        "top_logprobs",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "store",
    }
)


def parse_options(body: Mapping[str, Json], policy: CallerPolicy) -> RunOptions:
    """Apply the table to a request body.

    Raises:
        InvalidRequest: A value has the wrong type or is out of range.
        UnsupportedOption: A refused field is set, or the policy does not allow it.
    """
    chat: dict[str, Json] = {}
    echo: dict[str, Json] = {name: value for name, value in body.items() if value is not None and name in _ECHOED}
    for name, value in body.items():
        row = OPTIONS.get(name)
        if value is None or row is None or row.verdict == "protocol":
            continue
        if row.verdict == "refused":
            raise UnsupportedOption(f"{name} is not accepted: {row.why}.", param=name)
        if row.check is not None:
            value = row.check(value, name)
            if row.option is not None and (row.verdict == "forwarded" or (name == "model" and policy.allow_model)):
                chat[row.option] = value
    tools = parse_tools(body.get("tools"), policy)
    if isinstance(agent := body.get("agent_reference"), Mapping):
        echo["agent_reference"] = agent
    echo["tools"] = list(tools.echo)
    if (choice := body.get("tool_choice")) is not None:
        tools = tools.choosing(choice)
        chat["tool_choice"] = tools.choice
        echo["tool_choice"] = choice
    if (wanted := body.get("text")) is not None:
        chat.update(_text_options(mapping(wanted, "text")))
        echo["text"] = {key: value for key, value in wanted.items() if value is not None}
    if chat.get("instructions") is not None:
        echo["instructions"] = chat["instructions"]
    return RunOptions(chat, _forwarded_instructions(chat, policy), tools, echo)


def _forwarded_instructions(chat: dict[str, Json], policy: CallerPolicy) -> str | None:
    """The instructions that go in front of the conversation; those that the policy appends stay in `chat`."""
    if "instructions" not in chat or policy.instructions == "append":
        return None
    if policy.instructions == "refuse":
        raise UnsupportedOption(
            "instructions are not accepted: the developer of this agent writes them.", param="instructions"
        )
    return chat.pop("instructions")


def _text_options(wanted: Mapping[str, Json]) -> dict[str, Json]:
    options: dict[str, Json] = {}
    if (verbosity := wanted.get("verbosity")) is not None:
        options["verbosity"] = one_of("low", "medium", "high")(verbosity, "text.verbosity")
    wire = wanted.get("format")
    if wire is None:
        return options
    wire = mapping(wire, "text.format")
    match wire.get("type"):
        case "text":
            pass
        case "json_object":
            options["response_format"] = {"type": "json_object"}
        case "json_schema":
            options["response_format"] = {"type": "json_schema", "json_schema": _json_schema(wire)}
        case kind:
            raise InvalidRequest(
                f"text.format.type must be text, json_object or json_schema, not {kind!r}.", param="text.format.type"
            )
    return options


def _json_schema(wire: Mapping[str, Json]) -> dict[str, Json]:
    schema = mapping(wire.get("schema"), "text.format.schema")
    name = wire.get("name")
    if not isinstance(name, str) or not _FORMAT_NAME.fullmatch(name):
        raise InvalidRequest(
            f"text.format.name must be 1 to 64 letters, digits, '_' or '-', not {name!r}.", param="text.format.name"
        )
    checks: tuple[tuple[str, Check[Json]], ...] = (("description", text), ("strict", flag))
    more = {key: optional(check, wire.get(key), f"text.format.{key}") for key, check in checks}
    return {"name": name, "schema": schema, **{key: value for key, value in more.items() if value is not None}}


def client_options(client: object, wanted: Mapping[str, Json]) -> dict[str, Json]:
    """The options of a request that a chat client supports, in its provider's form.

    Read off the options `TypedDict` that the client's class declares as the default of its type parameter; an option
    typed as `None` there is one the provider does not have. A client that declares none is given everything.
    """
    declared = _declared_options(type(client))
    if declared is None:
        return dict(wanted)
    name, known = declared
    options = {
        option: value
        for option, value in wanted.items()
        if known.get(option) not in _ABSENT and not _is_untaken(name, option, value)
    }
    if options.get("top_logprobs") and "logprobs" in known:
        options["logprobs"] = True  # Chat Completions refuses the number without the switch.
    return options


_ABSENT: Final = (None, type(None), "None")


def _is_untaken(client: str, option: str, value: Json) -> bool:
    check = _UNTAKEN.get(client, {}).get(option)
    return check is not None and check(value)


# The client documents `user` as metadata.user_id but passes it on as it is, and the service's SDK raises TypeError. Of
# a response format it makes a JSON schema, even of one that has none, and the service refuses that.
# Can go when AnthropicClient translates them (no issue of it is known upstream).
_UNTAKEN: Final[Mapping[str, Mapping[str, Callable[[Json], bool]]]] = {
    "AnthropicChatOptions": {
        "user": lambda value: True,
        "response_format": lambda value: value == {"type": "json_object"},
    }
}


@lru_cache(maxsize=64)
def _declared_options(kind: type) -> tuple[str, Mapping[str, Any]] | None:
    for base in kind.__mro__:
        parameters: tuple[Any, ...] = getattr(base, "__parameters__", ())
        default = getattr(parameters[0], "__default__", None) if parameters else None
        if not isinstance(default, str) or default.startswith("ChatOptions"):
            continue
        name = default.partition("[")[0]
        options = getattr(sys.modules.get(base.__module__), name, None)
        if isinstance(options, type):
            annotations = inspect.get_annotations(options)
            return name, {key: getattr(value, "__forward_arg__", value) for key, value in annotations.items()}
    return None
