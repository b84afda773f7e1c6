"""Asks for a value field by field, as its JSON schema describes it. Objects inside of fields are typed as JSON."""

from __future__ import annotations

import json
import operator
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

Schema: TypeAlias = Mapping[str, Any]
Ask: TypeAlias = Callable[[str], str | None]
"""Prints a prompt and returns the line that was typed; `None` at the end of the input."""
Tell: TypeAlias = Callable[[str], None]

_MISSING: Final = object()
_EMPTY_TEXT: Final = '""'
"""The input for a text without characters: an empty line means that there is no value."""

_YES_OR_NO: Final[Mapping[str, bool]] = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}

_TYPES: Final[Mapping[Any, tuple[str, str, Callable[[Any], bool]]]] = {
    "string": ("text", "a text", lambda value: isinstance(value, str)),
    "integer": ("integer", "an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("number", "a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "boolean": ("yes or no", "yes or no", lambda value: isinstance(value, bool)),
    "array": ("list", "a list in JSON", lambda value: isinstance(value, list)),
    "object": ("object", "an object in JSON", lambda value: isinstance(value, dict)),
    "null": ("null", "null", lambda value: value is None),
}
"""Type: its name in a prompt and in a sentence, and its test."""

_FORMATS: Final[Mapping[Any, str]] = {
    "date": "date, such as 2026-12-31",
    "date-time": "time, such as 2026-12-31T18:00:00Z",
    "time": "time, such as 18:00:00",
    "duration": "duration, such as PT30M",
    "email": "address of an email",
    "uri": "URL",
    "uuid": "UUID",
}
"""Format of a text: its name in a prompt."""

_LONGEST: Final = 60
"""Characters of a prompt; what does not fit stands on a line before it."""


def _matches(text: Any, pattern: Any) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # Not every pattern of JavaScript is one of Python; the agent checks it again.
        return True


_LIMITS: Final[Mapping[str, tuple[type | tuple[type, ...], Callable[[Any, Any], bool], str]]] = {
    "minimum": ((int, float), operator.ge, "at least {}"),
    "maximum": ((int, float), operator.le, "at most {}"),
    "exclusiveMinimum": ((int, float), operator.gt, "more than {}"),
    "exclusiveMaximum": ((int, float), operator.lt, "less than {}"),
    "minLength": (str, lambda text, least: len(text) >= least, "{} characters or more"),
    "maxLength": (str, lambda text, most: len(text) <= most, "{} characters or fewer"),
    "pattern": (str, _matches, "like {}"),
    "minItems": (list, lambda rows, least: len(rows) >= least, "{} items or more"),
    "maxItems": (list, lambda rows, most: len(rows) <= most, "{} items or fewer"),
}
"""Keyword: the values that it limits, its test, and its words."""


def filled(schema: Any, *, ask: Ask, tell: Tell, earlier: dict[str, Any]) -> str | None:
    """A value of a schema as the text of an answer; `None` if the input ends before it is whole.

    Args:
        schema: The JSON schema.
        ask: Asks for a line.
        tell: Prints a line.
        earlier: The values of an answer that was refused, by their fields: they are the defaults. Takes the new ones.
    """
    form = _Form(schema, ask, tell, earlier)
    try:
        value = form.value()
    except EOFError:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Form:
    def __init__(self, root: Any, ask: Ask, tell: Tell, earlier: dict[str, Any]) -> None:
        self._root = root
        self._ask = ask
        self._tell = tell
        self._earlier = earlier

    def value(self) -> Any:
        schema = self._resolved(self._root)
        if schema.get("type") != "object" or not schema.get("properties"):
            return self._field("Answer", {**schema, "title": None}, is_required=True)
        values: dict[str, Any] = {}
        for name, inner in schema["properties"].items():
            default = {"default": self._earlier[name]} if name in self._earlier else {}
            values[name] = self._field(
                name, {**self._resolved(inner), **default}, is_required=name in schema.get("required", ())
            )
        given = {name: value for name, value in values.items() if value is not _MISSING}
        self._earlier.update(given)
        return given

    def _field(self, name: str, schema: Schema, *, is_required: bool) -> Any:
        label = str(schema.get("title") or name)
        if schema.get("description"):
            self._say(str(schema["description"]))
        if schema.get("type") == "array" and self._is_typed_plainly(schema.get("items")) and not schema.get("default"):
            return self._list(label, schema, is_required=is_required)
        prompt, is_optional = self._prompt(label, schema, is_required=is_required)
        while True:
            line = self._line(prompt)
            try:
                if line:
                    return self._read(label, line, schema)
                if schema.get("default") is not None:
                    return schema["default"]
                if is_optional:
                    return None if is_required else _MISSING
                empty = f" Type {_EMPTY_TEXT} for an empty text." if self._may_be_empty(schema) else ""
                self._say(f"{label} is required.{empty}")
            except ValueError as error:
                self._say(str(error))

    def _prompt(self, label: str, schema: Schema, *, is_required: bool) -> tuple[str, bool]:
        """The prompt for a value; it says whether the value may be left out."""
        is_optional = not is_required or schema.get("nullable", False)
        default = schema.get("default")
        shown = "" if default is None else f" [{_shown(default)}]"
        kind = self._kind(schema)
        if len(label) + len(kind) + len(shown) > _LONGEST:
            self._say(f"{label}: {kind}.")
            kind = "JSON" if schema.get("type") in ("object", "array") else "see above"
        ending = ", optional" if is_optional and not shown else ""
        return f"{label} ({kind}{ending}){shown}: ", is_optional

    def _list(self, label: str, schema: Schema, *, is_required: bool) -> Any:
        """The items of a list, each on a line of its own."""
        item, least, most = self._resolved(schema["items"]), schema.get("minItems", 0), schema.get("maxItems")
        rows: list[Any] = []
        while most is None or len(rows) < most:
            number = f"{label} {len(rows) + 1}"
            ending = ", an empty line ends the list" if len(rows) >= least else ""
            if not (line := self._line(f"{number} ({self._kind(item)}{ending}): ")):
                if ending:
                    break
                self._say(f"{number} is required.")
                continue
            try:
                rows.append(self._read(number, line, item))
            except ValueError as error:
                self._say(str(error))
        return rows if rows or is_required else _MISSING

    def _say(self, text: str) -> None:
        self._tell(textwrap.fill(text, shutil.get_terminal_size().columns - 1))

    def _line(self, prompt: str) -> str:
        line = self._ask(prompt)
        if line is None:
            raise EOFError
        return line.strip()

    def _read(self, label: str, line: str, schema: Schema) -> Any:
        """The value that a line stands for.

        Raises:
            ValueError: It is not one of the schema; the message names the field and what it must be.
        """
        value = self._parsed(label, line, schema)
        for problem in self._problems(label, value, schema):
            raise ValueError(problem)
        return value

    def _parsed(self, label: str, line: str, schema: Schema) -> Any:
        if (choices := _choices(schema)) is not None:
            return next((one for one in choices if _shown(one) == line), line)
        match schema.get("type"):
            case "string":
                return "" if line == _EMPTY_TEXT else line
            case "boolean":
                return _YES_OR_NO.get(line.lower(), line)
            case "integer" | "number":
                try:
                    return json.loads(line)
                except ValueError:
                    return line
            case _:
                try:
                    return json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{label} is not JSON: {error}.") from error

    def _problems(self, label: str, value: Any, schema: Schema) -> Iterator[str]:
        """The errors of a value, as sentences."""
        if (choices := _choices(schema)) is not None:
            if value not in choices:
                yield f"{label} must be {_any_of(choices)}."
            return
        if options := _options(schema):
            if all(any(self._problems(label, value, self._resolved(one))) for one in options):
                yield f"{label} must be {self._kind(schema)}."
            return
        if (known := _TYPES.get(schema.get("type"))) is not None and not known[2](value):
            yield f"{label} must be {known[1]}."
            return
        for keyword, (kinds, fits, words) in _LIMITS.items():
            if keyword in schema and isinstance(value, kinds) and not fits(cast("Any", value), schema[keyword]):
                yield f"{label} must be {words.format(schema[keyword])}."
        yield from self._problems_inside(label, value, schema)

    def _problems_inside(self, label: str, value: Any, schema: Schema) -> Iterator[str]:
        if isinstance(value, list) and schema.get("items"):
            for n, row in enumerate(cast("list[Any]", value), 1):
                yield from self._problems(f"{label} {n}", row, self._resolved(schema["items"]))
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            yield from (f"{label}.{name} is required." for name in schema.get("required", ()) if name not in fields)
            for name, inner in schema.get("properties", {}).items():
                if name in fields:
                    yield from self._problems(f"{label}.{name}", fields[name], self._resolved(inner, keeps_null=True))

    def _kind(self, schema: Schema, *, is_inside: bool = False) -> str:
        """The values that are allowed, in words."""
        if (choices := _choices(schema)) is not None:
            return _any_of(choices)
        if options := _options(schema):
            return " or ".join(self._kind(self._resolved(one), is_inside=True) for one in options)
        name, *_ = _TYPES.get(schema.get("type"), ("any value in JSON",))
        name = _FORMATS.get(schema.get("format"), name)
        limits = [words.format(schema[key]) for key, (_, _, words) in _LIMITS.items() if key in schema]
        if not is_inside and schema.get("type") in ("object", "array"):
            name = f"{name} in JSON{self._inside(schema)}"
        return ", ".join(filter(None, [name, *limits]))

    def _inside(self, schema: Schema) -> str:
        if schema.get("items"):
            return f" of {self._kind(self._resolved(schema['items']), is_inside=True)}"
        wanted = schema.get("required", ())
        fields = [
            f"{name} ({self._kind(self._resolved(inner), is_inside=True)}{'' if name in wanted else ', optional'})"
            for name, inner in schema.get("properties", {}).items()
        ]
        return f" with {', '.join(fields)}" if fields else ""

    def _resolved(self, schema: Any, *, keeps_null: bool = False) -> dict[str, Any]:
        """A schema with its reference followed; one that may also be null is its other half, marked `nullable`."""
        if not isinstance(schema, Mapping):
            return {}
        own = dict(cast("Schema", schema))
        if str(reference := own.pop("$ref", "")).startswith("#/"):
            target: Any = self._root
            for key in str(reference)[2:].split("/"):
                target = target.get(key, {})
            return self._resolved({**target, **own}, keeps_null=keeps_null)
        some = [option for option in _options(own) if option.get("type") != "null"]
        if len(some) != 1 or keeps_null:
            return own
        outside = {key: value for key, value in own.items() if key not in ("anyOf", "oneOf")}
        return {**self._resolved(some[0]), "title": None, **outside, "nullable": True}

    def _is_typed_plainly(self, schema: Any) -> bool:
        resolved = self._resolved(schema)
        return _choices(resolved) is not None or resolved.get("type") in ("string", "integer", "number", "boolean")

    def _may_be_empty(self, schema: Schema) -> bool:
        return schema.get("type") == "string" and _choices(schema) is None and not schema.get("minLength")


def _choices(schema: Schema) -> Sequence[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum") or None


def _options(schema: Schema) -> Sequence[Schema]:
    return schema.get("anyOf") or schema.get("oneOf") or ()


def _any_of(choices: Sequence[Any]) -> str:
    *others, last = map(_shown, choices)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
