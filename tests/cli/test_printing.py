"""What `invoke` and `chat` print of a response, without a server."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hostedagent.cli.chat.printing import ChatPrinter, split_blocks
from hostedagent.cli.invoke.printing import OneAtATime, TextAsItArrives, notes, summary

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        ({"type": "function_call", "name": "add", "arguments": "{}"}, ["> add({})"]),
        ({"type": "function_call_output", "output": "one\n two"}, ["< one two"]),
        ({"type": "function_call_output", "output": [{"text": "a"}]}, ['< [{"text": "a"}]']),
        ({"type": "mcp_call", "name": "find", "arguments": "{}", "output": "none"}, ["> find({})", "< none"]),
        ({"type": "reasoning", "summary": [{"text": "First"}, {"text": "then"}]}, ["~ First then"]),
        ({"type": "reasoning", "summary": []}, []),
        ({"type": "web_search_call"}, ["> web_search_call"]),
        ({"type": "mcp_approval_request"}, []),
        ({"type": "image_generation_call", "status": "failed"}, ["> image: failed"]),
        (
            {"type": "message", "content": [{"annotations": [{"url": "https://a", "title": "A"}, {"file_id": "f"}]}]},
            ["[1] A https://a", "[2]  f"],
        ),
    ],
)
def test_an_item_is_described_in_lines(item: dict[str, Any], lines: list[str]) -> None:
    assert list(notes(item)) == lines


def test_a_long_result_is_shortened() -> None:
    (line,) = notes({"type": "function_call_output", "output": "x" * 1000})

    assert len(line) < 400 and line.endswith("(700 characters more)")


def test_an_image_is_saved_and_its_path_printed() -> None:
    (line,) = notes({"type": "image_generation_call", "result": PNG})

    path = Path(line.removeprefix("> image: "))
    assert path.suffix == ".png" and path.read_bytes().startswith(b"\x89PNG")
    path.unlink()


def test_usage_and_time_are_one_line() -> None:
    assert summary({"usage": {"input_tokens": 3, "output_tokens": 4}}, 1.25) == "3 + 4 tokens, 1.2 s"
    assert summary({}, 0.0) == "0.0 s"


def test_messages_that_are_written_at_the_same_time_come_one_after_the_other() -> None:
    shown: list[str] = []
    order = OneAtATime(shown.append, lambda: shown.append("|"))

    for index, text in ((0, "a"), (1, "x"), (2, "p"), (0, "b"), (1, "y")):
        order.add(index, text)
    order.finish(2)
    order.finish(0)
    order.add(1, "z")
    order.finish(1)

    assert "".join(shown) == "ab|xyz|p|"


def test_streamed_text_of_two_agents_is_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TextAsItArrives()
    for index, text in ((0, "one "), (1, "uno "), (0, "two"), (1, "dos")):
        printer.event({"type": "response.output_text.delta", "output_index": index, "delta": text})
    for index in (1, 0):
        item: dict[str, Any] = {"type": "message", "content": []}
        printer.event({"type": "response.output_item.done", "output_index": index, "item": item})

    assert capsys.readouterr().out == "one two\nuno dos\n"


@pytest.mark.parametrize(
    ("text", "done", "rest"),
    [
        ("one", "", "one"),
        ("one\n\ntwo", "one\n\n", "two"),
        ("```\na\n\nb", "", "```\na\n\nb"),
        ("one\n\n```\na\n\nb", "one\n\n", "```\na\n\nb"),
        ("```\na\n\nb\n```\n\nc", "```\na\n\nb\n```\n\n", "c"),
    ],
)
def test_markdown_is_finished_at_a_blank_line_outside_of_code(text: str, done: str, rest: str) -> None:
    assert split_blocks(text) == (done, rest)


def test_a_chat_renders_markdown_at_a_terminal_and_nothing_else_in_a_pipe() -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    consoles = (Console(file=terminal, force_terminal=True, width=40), Console(file=pipe, width=40))
    for console in consoles:
        printer = ChatPrinter(console)
        for text in ("# Tit", "le\n\nIt is **so**", "."):
            printer.event({"type": "response.output_text.delta", "output_index": 0, "delta": text})
        item: dict[str, Any] = {"type": "message", "content": []}
        printer.event({"type": "response.output_item.done", "output_index": 0, "item": item})
        printer.end({"usage": None})

    assert pipe.getvalue() == "# Title\n\nIt is **so**.\n"
    assert "\x1b[1mso\x1b[0m" in terminal.getvalue() and "**" not in terminal.getvalue().splitlines()[-2]


def test_a_text_that_was_cut_off_does_not_hold_up_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TextAsItArrives()
    for index, text in ((0, "one "), (1, "uno ")):
        printer.event({"type": "response.output_text.delta", "output_index": index, "delta": text})
    printer.close()
    printer.event({"type": "response.output_text.delta", "output_index": 1, "delta": "two"})
    printer.close()
    printer.close()

    assert capsys.readouterr().out == "one \ntwo\n"


def test_the_terminal_is_free_again_after_a_text_was_cut_off() -> None:
    terminal = io.StringIO()
    before = sys.stdout
    printer = ChatPrinter(Console(file=terminal, force_terminal=True, width=40))
    printer.event({"type": "response.output_text.delta", "output_index": 0, "delta": "cut"})
    assert sys.stdout is not before  # Rich writes above what it redraws.
    printer.close()

    assert sys.stdout is before
    assert terminal.getvalue().rstrip().endswith("cut")
