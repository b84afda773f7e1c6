"""Messages that only the events of OpenAI's client tell apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agent_framework import Annotation, Content

from tests.protocol.content.harness import project


def said(item_id: str, text: str) -> Content:
    return Content.from_text(text, raw_representation=SimpleNamespace(item_id=item_id))


def late_citation(item_id: str) -> Content:
    note = Annotation(type="citation", title="A", url="https://example.com")
    event = SimpleNamespace(item=SimpleNamespace(id=item_id))
    return Content.from_text("", annotations=[note], raw_representation=event)


def items(*contents: Content) -> list[Any]:
    return [item["content"] for item in project(contents).items]


def test_each_message_of_an_answer_is_an_item() -> None:
    assert [
        [part["text"] for part in content] for content in items(said("a", "One"), said("a", "."), said("b", "Two."))
    ] == [
        ["One."],
        ["Two."],
    ]


def test_a_citation_that_comes_with_the_finished_message_belongs_to_it() -> None:
    [[part]] = items(said("a", "One."), late_citation("a"))
    assert [note["url"] for note in part["annotations"]] == ["https://example.com"]


def test_text_without_an_id_goes_on_a_message_without_one() -> None:
    [[part]] = items(Content.from_text("One"), Content.from_text("."))
    assert part["text"] == "One."
