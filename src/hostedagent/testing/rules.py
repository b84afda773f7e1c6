"""The replies of the offline model without a script: a few deterministic rules.

A tool is called if the last user message names it or one of its arguments; arguments are picked from the text by their
JSON schema type. Otherwise the answer shows what the model has seen, so that a lost message is visible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent_framework import FunctionTool, Message

from hostedagent.protocol.values import fields_of, is_mapping, rows_of

Schema = Mapping[str, Any]

WORDS = re.compile(r"[^\W_]+(?:[.'-][^\W_]+)*")
NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
QUOTED = re.compile(r'"([^"]+)"')
NAME = re.compile(r"\bmy name is (\w+)", re.IGNORECASE)
NAME_QUESTION = re.compile(r"\b(what(?:'s| is) my name|who am i)\b", re.IGNORECASE)
SMALL_WORDS = frozenset(
    "a an and by do does for from get how in is it list make me of on please set the to what".split()
)


def last_user_text(messages: Sequence[Message]) -> str:
    """The text of the newest user message, `""` without one."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def tool_results(messages: Sequence[Message]) -> list[tuple[str, Any]]:
    """Name of the tool and its result, for the results that came after the newest user message with text."""
    names: dict[str, str] = {}
    results: list[tuple[str, Any]] = []
    for message in messages:
        if message.role == "user" and message.text:
            results = []
        for content in message.contents:
            if content.type == "function_call" and content.call_id and content.name:
                names[content.call_id] = content.name
            elif content.type == "function_result":
                results.append((names.get(content.call_id or "", "the tool"), content.result))
    return results


def answer(messages: Sequence[Message]) -> str:
    """The answer in words."""
    if results := tool_results(messages):
        return " ".join(f"{name} says: {result}" for name, result in results)
    said = [message for message in messages if message.role == "user"]
    text = last_user_text(messages)
    if found := NAME.search(text):
        return f"Nice to meet you, {found[1]}."
    if NAME_QUESTION.search(text):
        names = [found[1] for message in said if (found := NAME.search(message.text))]
        return f"Your name is {names[-1]}." if names else "You have not told me your name."
    contents = said[-1].contents if said else []
    files = [content.media_type or content.type for content in contents if content.type != "text"]
    attached = f" With it came: {', '.join(files)}." if files else ""
    return f'This is message {len(said)} from you. You said: "{text}".{attached}'


def choose_tool(options: Mapping[str, Any], text: str) -> FunctionTool | None:
    """The tool the text is about, if any; `tool_choice` is obeyed."""
    tools = [tool for tool in rows_of(options.get("tools")) if isinstance(tool, FunctionTool)]
    mode, forced = _tool_choice(options.get("tool_choice"))
    if mode == "none" or not tools:
        return None
    if forced is not None:
        return next((tool for tool in tools if tool.name == forced), None)
    words = {word.lower() for word in WORDS.findall(text)}
    scores = [len(words & _topic(tool)) for tool in tools]
    if not any(scores):
        return tools[0] if mode == "required" else None
    return tools[scores.index(max(scores))]


def _tool_choice(choice: Any) -> tuple[str, str | None]:
    if is_mapping(choice):
        return choice.get("mode", "auto"), choice.get("required_function_name")
    return (choice or "auto"), None


def _topic(tool: FunctionTool) -> set[str]:
    schema: Schema = tool.parameters()
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    words = {tool.name.lower()}
    for name in (tool.name, *properties):
        words.update(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|\d+", name))
    for of in properties.values():
        words.update(value.lower() for value in rows_of(of.get("enum")) if isinstance(value, str))
    return words - SMALL_WORDS


def arguments(schema: Schema, text: str) -> dict[str, Any]:
    """Arguments that fit a JSON schema of type `object`, picked from the text in the order of the properties.

    Optional properties are filled only with what the text really has; required ones always.
    """
    picked = Picker(text, schema)
    properties = fields_of(schema.get("properties"))
    required = rows_of(schema.get("required"))
    # Required properties choose first.
    found = {name: picked.value(properties.get(name, {}), needed=True) for name in properties if name in required}
    found.update((name, picked.value(of, needed=False)) for name, of in properties.items() if name not in required)
    return {name: found[name] for name in properties if found[name] is not None}


class Picker:
    """Takes values out of a text, each number and each name once."""

    def __init__(self, text: str, root: Schema) -> None:
        self._text = text
        self._root = root
        self._numbers: Iterator[str] = iter(NUMBERS.findall(text))
        quoted = QUOTED.findall(text)
        words = WORDS.findall(QUOTED.sub(" ", text))
        # The first word is capitalised in any sentence, so it is no name; the last names are what a question is about.
        capitals = [word for word in words[1:] if word[0].isupper() and word != "I"]
        self._names: Iterator[str] = iter([*quoted, *capitals[-_needed_strings(root) :]])
        self._last_word = words[-1] if words else ""

    def value(self, schema: Schema, *, needed: bool) -> Any:
        """A value for one property; None when the text has none and none is needed."""
        schema = self._resolved(schema)
        if values := schema.get("enum"):
            named = [value for value in values if str(value).lower() in self._text.lower()]
            return named[0] if named else (values[0] if needed else None)
        match schema.get("type"):
            case "integer" | "number" as kind:
                return self._number(kind, needed=needed)
            case "boolean":
                return not re.search(r"\b(no|not|without|off)\b", self._text, re.IGNORECASE) if needed else None
            case "array":
                return self._array(schema, needed=needed)
            case "object":
                return arguments({**schema, "$defs": self._root.get("$defs", {})}, self._text) if needed else None
            case _:
                return next(self._names, None) or (self._last_word if needed else None)

    def _number(self, kind: str, *, needed: bool) -> int | float | None:
        number = float(next(self._numbers, "nan"))
        if number != number:
            return 0 if needed else None
        return int(number) if kind == "integer" or number.is_integer() else number

    def _array(self, schema: Schema, *, needed: bool) -> list[Any] | None:
        item = self.value(schema.get("items") or {}, needed=needed)
        return None if item is None else [item]

    def _resolved(self, schema: Schema) -> Schema:
        if (reference := schema.get("$ref")) is not None:
            return self._root.get("$defs", {}).get(str(reference).rpartition("/")[2], {})
        options: Sequence[Schema] = schema.get("anyOf") or []
        return next((self._resolved(one) for one in options if one.get("type") != "null"), schema)


def _needed_strings(schema: Schema) -> int:
    properties = fields_of(schema.get("properties"))
    needed = [properties.get(name, {}) for name in rows_of(schema.get("required"))]
    return max(1, sum(of.get("type") == "string" and "enum" not in of for of in needed))


def structured(response_format: Any, text: str) -> str:
    """JSON text that fits a response format: a pydantic model, or a mapping as the model services take it."""
    if hasattr(response_format, "model_json_schema"):
        return json.dumps(arguments(response_format.model_json_schema(), text))
    form = fields_of(response_format)
    schema = fields_of(form.get("json_schema") or form).get("schema")
    if schema is None:
        return text if form.get("type") == "text" else json.dumps({"reply": text})
    return json.dumps(arguments(schema, text))
