"""main.parameters.json against main.bicep. azd fills in `${VARIABLE}` and `${VARIABLE=default}` first."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.deploy.bicep.checker import FileChecker, Program
from tests.deploy.bicep.shapes import ARRAY, BOOL, INT, OBJECT, STRING, Shape, literals, mismatch

_KINDS = {bool: BOOL, int: INT, str: STRING, list: ARRAY, dict: OBJECT}


def given_in(text: str) -> dict[str, tuple[Any, str | None, str | None]]:
    """The value of each parameter, the azd variable that it is, and that variable's default."""
    values = {name: row["value"] for name, row in json.loads(text)["parameters"].items()}
    matches = {name: re.fullmatch(r"\$\{(\w+)(?:=([^}]*))?\}", str(value)) for name, value in values.items()}
    return {name: (values[name], one and one[1], one and one[2]) for name, one in matches.items()}


def check_parameters(program: Program, text: str) -> list[str]:
    """What does not fit: unknown and missing parameters, and values or defaults of another type."""
    wanted, given = FileChecker(program, "main.bicep").parameters(), given_in(text)
    problems: dict[str, str | None] = dict.fromkeys(wanted.required - given.keys(), "is missing")
    for name, (value, variable, default) in given.items():
        shape = wanted.fields.get(name)
        if shape is None:
            problems[name] = "main.bicep has no such parameter"
        elif variable is None or default is not None:
            problems[name] = mismatch(_KINDS[type(value)] if default is None else _converted(default, shape), shape)
    return sorted(f"main.parameters.json: {name}: {problem}" for name, problem in problems.items() if problem)


def _converted(text: str, wanted: Shape) -> Shape:
    """What azd makes of a text: the number or the truth value that is wanted, if it is one."""
    fits = {"int": text.isdecimal(), "bool": text in ("true", "false")}.get(wanted.kind)
    return wanted if fits else literals(text)
