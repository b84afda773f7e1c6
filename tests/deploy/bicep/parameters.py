"""main.parameters.json against main.bicep. azd fills in `${VARIABLE}` and `${VARIABLE=default}` first."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.deploy.bicep.declarations import Declaration, NullableType
from tests.deploy.bicep.program import Finding, Program
from tests.deploy.bicep.shapes import ANYTHING, ARRAY, BOOL, INT, STRING, Fields, Scalar, Shape, mismatch
from tests.deploy.bicep.symbols import Symbols

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Given:
    """What the file says for one parameter."""

    value: Any
    variable: str | None
    default: str | None


def given_in(text: str) -> dict[str, Given]:
    """The parameters of a file, each with the azd variable that it is."""
    found: dict[str, Given] = {}
    for name, row in json.loads(text)["parameters"].items():
        value = row["value"]
        match = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
        found[name] = Given(value, match[1] if match else None, match[2] if match else None)
    return found


def check_parameters(program: Program, text: str, file: str = "main.parameters.json") -> list[Finding]:
    """What does not fit: unknown and missing parameters, and values or defaults of another type."""
    main = program.files["main.bicep"]
    symbols = Symbols(program, main, lambda _: ANYTHING)
    wanted = {one.name: one for one in main.of_kind("param")}
    given = given_in(text)
    findings = [
        Finding(file, _line(text, name), name, "main.bicep has no such parameter")
        for name in given
        if name not in wanted
    ]
    for name, declaration in wanted.items():
        if name in given:
            why = mismatch(_shape(given[name], symbols.parameter(declaration)), symbols.parameter(declaration))
            if why:
                findings.append(Finding(file, _line(text, name), name, why))
        elif not _is_optional(declaration):
            findings.append(Finding(file, 1, name, "is missing"))
    return sorted(findings)


def _is_optional(declaration: Declaration) -> bool:
    return declaration.value is not None or isinstance(declaration.type, NullableType)


def _line(text: str, name: str) -> int:
    return text[: text.index(f'"{name}"')].count("\n") + 1


def _shape(given: Given, wanted: Shape) -> Shape:
    """What azd makes of it: it turns the text of a variable into the number or truth value that is wanted."""
    if given.variable is None or given.default is None:
        return ANYTHING if given.variable else shape_of(given.value)
    if wanted == INT and re.fullmatch(r"-?\d+", given.default):
        return INT
    if wanted == BOOL and given.default in ("true", "false"):
        return BOOL
    return Scalar("string", frozenset({given.default}))


def shape_of(value: Any) -> Shape:
    """The shape of a JSON value."""
    match value:
        case bool():
            return BOOL
        case int():
            return INT
        case str():
            return STRING
        case list():
            return ARRAY
        case _:
            return Fields("object", {}, lambda: ANYTHING)
