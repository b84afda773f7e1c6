"""A question of a workflow at a terminal: what is asked for each field of a JSON schema, and what it becomes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from hostedagent.cli import main
from hostedagent.cli.invoke.forms import filled
from tests.samples.server import served

EMPTY: Mapping[str, Any] = {}


class Address(BaseModel):
    street: str
    zip: int = Field(ge=1)
    note: str | None = None


class Order(BaseModel):
    product: str = Field(description="What shall be sent.")
    speed: Literal["slow", "fast"] = "slow"
    gift: bool = False
    vip: bool | None = None
    address: Address


@dataclass
class Node:
    name: str
    children: list[Node] | None = None


def asked(kind: Any, *typed: str, earlier: Mapping[str, Any] = EMPTY) -> tuple[str | None, list[str]]:
    """The answer to a question whose answer is of a type, and everything that is printed, a prompt in one line."""
    printed: list[str] = []
    lines = iter(typed)

    def ask(prompt: str) -> str | None:
        printed.append(prompt)
        return next(lines, None)

    answer = filled(TypeAdapter(kind).json_schema(), ask=ask, tell=printed.append, earlier=dict(earlier))
    assert next(lines, None) is None, "not everything was asked for"
    return answer, printed


def test_each_field_is_asked_with_what_it_may_be() -> None:
    answer, printed = asked(Order, "bicycle", "", "y", "", '{"street": "A", "zip": 3}')

    assert json.loads(answer or "") == {
        "product": "bicycle",
        "speed": "slow",
        "gift": True,
        "address": {"street": "A", "zip": 3},
    }
    assert Order.model_validate_json(answer or "").vip is None
    assert printed == [
        "What shall be sent.",
        "Product (text): ",
        "Speed (slow or fast) [slow]: ",
        "Gift (yes or no) [no]: ",
        "Vip (yes or no, optional): ",
        "Address: object in JSON with street (text), zip (integer, at least 1), note\n(text, optional).",
        "Address (JSON): ",
    ]


@pytest.mark.parametrize(
    ("kind", "wrong", "right", "says"),
    [
        (int, "two", "2", "Answer must be an integer."),
        (int, "2.5", "2", "Answer must be an integer."),
        (int, "true", "2", "Answer must be an integer."),
        (Annotated[int, Field(ge=1)], "0", "1", "Answer must be at least 1."),
        (Annotated[int, Field(lt=5)], "5", "4", "Answer must be less than 5."),
        (float, "a lot", "1.5", "Answer must be a number."),
        (bool, "maybe", "true", "Answer must be yes or no."),
        (Literal["slow", "fast"], "Fast", "fast", "Answer must be slow or fast."),
        (Literal[1, 2, 3], "4", "3", "Answer must be 1, 2 or 3."),
        (Annotated[str, Field(pattern="^[A-Z]+$")], "ab", "AB", "Answer must be like ^[A-Z]+$."),
        (Annotated[str, Field(max_length=2)], "abc", "ab", "Answer must be 2 characters or fewer."),
        (str, "", "a", 'Answer is required. Type "" for an empty text.'),
        (int, "", "1", "Answer is required."),
        (dict[str, int], "a=1", '{"a": 1}', "Answer is not JSON: Expecting value: line 1 column 1 (char 0)."),
        (dict[str, int], "[]", '{"a": 1}', "Answer must be an object in JSON."),
        (list[Address], '[{"zip": 1}]', '[{"street": "A", "zip": 1}]', "Answer 1.street is required."),
        (
            list[Address],
            '[{"street": "A", "zip": "x"}]',
            '[{"street": "A", "zip": 1, "note": null}]',
            "Answer 1.zip must be an integer.",
        ),
        (int | Literal["all"], '"none"', "3", "Answer must be integer or all."),
    ],
)
def test_a_wrong_value_is_named_and_asked_again(kind: Any, wrong: str, right: str, says: str) -> None:
    answer, printed = asked(kind, wrong, right)

    assert says in printed
    prompts = [line for line in printed if line.endswith(": ")]
    assert len(prompts) == 2 and len(set(prompts)) == 1
    assert answer in (right, json.dumps(right))


def test_a_text_goes_as_it_is_and_every_other_value_as_json() -> None:
    assert asked(str, "by air")[0] == "by air"
    assert asked(str, "12")[0] == "12"
    assert asked(str, '""')[0] == ""
    assert asked(bool, "Y")[0] == "true"
    assert asked(float, "1.5")[0] == "1.5"
    assert asked(str | None, "")[0] == "null"


def test_the_items_of_a_list_are_asked_one_by_one() -> None:
    answer, printed = asked(Annotated[list[int], Field(min_length=1, max_length=3)], "", "4", "x", "5", "6")

    assert answer == "[4, 5, 6]"
    assert printed == [
        "Answer 1 (integer): ",
        "Answer 1 is required.",
        "Answer 1 (integer): ",
        "Answer 2 (integer, an empty line ends the list): ",
        "Answer 2 must be an integer.",
        "Answer 2 (integer, an empty line ends the list): ",
        "Answer 3 (integer, an empty line ends the list): ",
    ]


def test_a_type_that_contains_itself_is_asked_for() -> None:
    answer, printed = asked(Node, "root", '[{"name": "leaf"}]')

    assert json.loads(answer or "") == {"name": "root", "children": [{"name": "leaf"}]}
    assert printed[-1] == "Children (list in JSON of object, optional): "


def test_what_was_typed_before_is_the_default() -> None:
    answer, printed = asked(Node, "", "", earlier={"name": "root"})

    assert json.loads(answer or "") == {"name": "root"}
    assert printed[0] == "Name (text) [root]: "


def test_an_answer_that_ends_early_is_none() -> None:
    assert asked(Order, "bicycle")[0] is None


@pytest.mark.parametrize("schema", [{}, None, {"type": "object"}, {"enum": []}, {"$ref": "#/$defs/none"}])
def test_a_schema_that_says_little_is_asked_for_as_json(schema: Any) -> None:
    answer = filled(schema, ask=lambda prompt: '{"a": 1}', tell=lambda line: None, earlier={})

    assert json.loads(answer or "") == {"a": 1}


ASKS_A_DATE = """
from datetime import date
from typing import Never

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler
from pydantic import BaseModel


class Delivery(BaseModel):
    to: str
    day: date


class Shop(Executor):
    @handler
    async def start(self, text: str, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.request_info("When shall it come?", Delivery)

    @response_handler
    async def order(self, asked: str, delivery: Delivery, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.yield_output(f"It comes on {delivery.day:%d.%m.%Y} to {delivery.to}.")


def build() -> WorkflowBuilder:
    shop = Shop(id="shop")
    return WorkflowBuilder(name="shop", start_executor=shop, output_from=[shop])
"""


class Typist(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_form_that_the_agent_refuses_is_asked_again_with_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("sys.stdin", Typist("Ada\ntomorrow\n\n2026-12-31\n"))
    (tmp_path / "agent.py").write_text(ASKS_A_DATE)
    with served(str(tmp_path / "agent.py")) as url:
        code = main(["invoke", "A bicycle", "--url", url])

    shown, said = capsys.readouterr()
    assert (code, shown) == (0, "It comes on 31.12.2026 to Ada.\n")
    assert "input[0].output.day" in said
    assert said.count("When shall it come?\n") == 2
    assert "To (text) [Ada]: " in said
    assert "Day (date, such as 2026-12-31) [tomorrow]: " in said
