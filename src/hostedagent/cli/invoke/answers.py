"""The requests of an agent to its caller, and the answers of the person at the terminal."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from hostedagent.cli.invoke.forms import filled
from hostedagent.protocol.types import Item, answered_calls
from hostedagent.protocol.values import rows_of

Verdict: TypeAlias = Literal["approve", "always", "reject"]
"""An answer to a question; `always` approves the call and every later call of the same tool."""

_TYPED: Final[Mapping[str, Verdict]] = {
    "y": "approve",
    "yes": "approve",
    "a": "always",
    "always": "always",
    "n": "reject",
    "no": "reject",
    "": "reject",
}

_WIDTH: Final = 76


def waiting(response: Mapping[str, Any]) -> list[Item]:
    """The items of a response that need an answer."""
    output = rows_of(response.get("output"))
    answered = answered_calls(output)
    return [
        item
        for item in output
        if item["type"] in ("mcp_approval_request", "oauth_consent_request")
        or (item["type"] == "function_call" and item.get("call_id") not in answered)
    ]


class Asker:
    """Answers the requests of an agent.

    Args:
        verdict: The answer to every approval; `None` to ask.
    """

    def __init__(self, verdict: Verdict | None) -> None:
        self._verdict = verdict
        self._earlier: dict[str, dict[str, Any]] = {}

    @property
    def can_try_again(self) -> bool:
        """Whether answers are typed at a terminal."""
        return sys.stdin.isatty() and self._verdict is None

    def answers(self, items: Sequence[Item]) -> list[Item] | None:
        """An answer to each item; `None` if one cannot be answered."""
        answers = [self._answer(item) for item in items]
        return [answer for answer in answers if answer is not None] if None not in answers else None

    def _answer(self, item: Item) -> Item | None:
        match item["type"]:
            case "mcp_approval_request":
                return self._approval(item)
            case "function_call" if sys.stdin.isatty():
                output = _typed_output(item, self._earlier.setdefault(item["call_id"], {}))
                return None if output is None else _output(item, output)
            case _:
                return None

    def _approval(self, item: Item) -> Item | None:
        verdict = self._verdict
        if verdict is None:
            if not sys.stdin.isatty():
                return None
            verdict = _typed_verdict(f"Run {call(item)}? [y/N/always] ")
        if verdict is None:
            return None
        answer = {"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": verdict != "reject"}
        return {**answer, "always_approve": "tool"} if verdict == "always" else answer


def described(item: Item) -> str:
    """One line about an item that needs an answer."""
    match item["type"]:
        case "mcp_approval_request":
            how = "" if sys.stdin.isatty() else ": --approve, --reject, or answer at a terminal"
            return f"{call(item)} waits for approval{how}"
        case "oauth_consent_request":
            return f"consent is needed; give it, then repeat with --continue: {item.get('consent_link', '')}"
        case _:
            return f"{call(item)} waits for its output: answer at a terminal"


def call(item: Item) -> str:
    """A call in one line; for a workflow's request, without the schema of the answer."""
    if (asked := asked_by_workflow(item)) is not None:
        return f"{item['name']} {json.dumps(asked.get('request'), ensure_ascii=False)}"
    return f"{item['name']}({item.get('arguments') or item.get('input') or ''})"


def asked_by_workflow(item: Item) -> Mapping[str, Any] | None:
    """The `request` and the `response_schema` of a workflow's request; `None` for any other call."""
    try:
        arguments: Any = json.loads(item.get("arguments") or "")
    except ValueError:
        return None
    if isinstance(arguments, dict) and "response_schema" in arguments:
        return cast("Mapping[str, Any]", arguments)
    return None


def _typed_output(item: Item, earlier: dict[str, Any]) -> str | None:
    """The typed output of a call; a workflow's request is asked field by field."""
    if (asked := asked_by_workflow(item)) is None:
        return _asked(f"Output of {call(item)}: ")
    _tell(_question(item["name"], asked.get("request")))
    return filled(asked["response_schema"], ask=_asked, tell=_tell, earlier=earlier)


def _question(name: str, request: Any) -> str:
    """The question of a workflow, with a line for each of its fields."""
    if isinstance(request, str):
        return request
    import yaml

    shown: str = yaml.safe_dump(request, sort_keys=False, allow_unicode=True, width=_WIDTH)
    lines = shown.removesuffix("...\n").rstrip()  # How YAML ends a single value.
    return f"{name}\n{textwrap.indent(lines, '  ')}"


def _output(item: Item, output: str) -> Item:
    return {"type": "function_call_output", "call_id": item["call_id"], "output": output}


def _typed_verdict(question: str) -> Verdict | None:
    """Ask until the answer is a verdict; `None` at the end of the input."""
    while (answer := _asked(question)) is not None:
        if (verdict := _TYPED.get(answer.strip().lower())) is not None:
            return verdict
        _tell("Answer y, n or always.")
    return None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _asked(question: str) -> str | None:
    """Ask for a line; `None` at the end of the input."""
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr, flush=True)  # Ctrl+D leaves the cursor behind the question.
    return line.rstrip("\n") if line else None
