"""The frame of every Python driver: reads cases from stdin, prints a line of JSON for each. Standard library only."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NOTES = "Ada lives in Paris."
TURNS = ("My name is Ada.", "How is the weather in Paris?", "Who am I?")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}

QUESTION = {
    "type": "object",
    "properties": {"request": {"type": "object"}, "response_schema": {"type": "object"}},
    "required": ["request"],
    "additionalProperties": True,
}


class AbsentError(Exception):
    """The client has no such thing."""


@dataclass(frozen=True)
class Case:
    feature: str
    streamed: bool
    url: str


def absent(why: str) -> Callable[[Case], Any]:
    """A feature that the client does not have."""

    def refuse(case: Case) -> Any:
        raise AbsentError(why)

    return refuse


LINK = "https://login.example/consent"
NOT_SHOWN = "it drops the item, and returns an empty answer"


def without_link(seen: Any, why: str) -> AbsentError:
    """The outcome of a client in whose result, or error, the link for consent is missing."""
    if LINK in f"{seen!r} {seen}":
        raise AssertionError(f"the client has the link: {seen!r}"[:600])
    return AbsentError(why)


def main(features: Mapping[str, Callable[[Case], Any]]) -> None:
    """Read the cases and try each with the function of its feature, sync or async."""
    run(features, [Case(**row) for row in json.load(sys.stdin)])


def run(features: Mapping[str, Callable[[Case], Any]], cases: Sequence[Case]) -> None:
    """Try cases, and print a line for each."""
    for case in cases:
        print(json.dumps({"feature": case.feature, "url": case.url, **_tried(features, case)}), flush=True)


def _tried(features: Mapping[str, Callable[[Case], Any]], case: Case) -> dict[str, Any]:
    if case.feature not in features:
        return {"error": "the driver has no such feature"}
    try:
        result = features[case.feature](case)
        if inspect.isawaitable(result):
            result = asyncio.run(_bounded(result))
    except AbsentError as error:
        return {"absent": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:600]}
    return {"result": result}


async def _bounded(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, 30)


def failing(act: Callable[[], Any]) -> str:
    """The error that a call raises, as its user reads it."""
    try:
        result = act()
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        return f"{error} {getattr(error, 'code', '')} {getattr(error, 'body', '')}"
    raise AssertionError(f"no error was raised; the call returned {result!r}"[:600])


async def failing_async(awaitable: Any) -> str:
    """The error that an awaitable raises, as its user reads it."""
    try:
        result = await awaitable
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        return f"{error} {getattr(error, 'code', '')} {getattr(error, 'body', '')}"
    raise AssertionError(f"no error was raised; the call returned {result!r}"[:600])
