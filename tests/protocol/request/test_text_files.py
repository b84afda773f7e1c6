"""A text file reaches every model as text with its name; every other file stays a file."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agent_framework import Content, Message

from hostedagent.protocol.transcript.messages import to_messages


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def file(name: str | None, url: str) -> dict[str, Any]:
    return {"type": "input_file", "file_data": url, **({"filename": name} if name else {})}


def shown(*parts: dict[str, Any]) -> list[Content]:
    item = {"type": "message", "role": "user", "content": list(parts)}
    messages: list[Message] = to_messages([], [item], trusts_roles=False)
    return list(messages[0].contents)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (file("notes.txt", data_url(b"one\ntwo", "text/plain")), "\n[file notes.txt]\none\ntwo\n[end of notes.txt]\n"),
        (file("t.csv", data_url(b"a,b", "text/csv; charset=utf-8")), "\n[file t.csv]\na,b\n[end of t.csv]\n"),
        (file("a.json", data_url(b"{}", "application/json")), "\n[file a.json]\n{}\n[end of a.json]\n"),
        (file("b.txt", base64.b64encode("é".encode()).decode()), "\n[file b.txt]\né\n[end of b.txt]\n"),
        (file("w.txt", data_url("é".encode("cp1252"), "text/plain")), "\n[file w.txt]\né\n[end of w.txt]\n"),
        (file(None, data_url(b"\xef\xbb\xbfhi", "text/markdown")), "\n[file file]\nhi\n[end of file]\n"),
    ],
)
def test_a_text_file_is_text(part: dict[str, Any], text: str) -> None:
    before, found, after = shown(
        {"type": "input_text", "text": "Read"}, part, {"type": "input_text", "text": "and answer."}
    )

    assert (found.type, found.text) == ("text", text)
    assert (before.text, after.text) == ("Read", "and answer.")


@pytest.mark.parametrize(
    "part",
    [
        file("a.pdf", data_url(b"%PDF-1.7", "application/pdf")),
        file("a.bin", data_url(b"\x00\x01", "application/octet-stream")),
        file("a.txt", data_url(b"a\x00b", "text/plain")),
        {"type": "input_image", "image_url": data_url(b"<svg/>", "image/svg+xml")},
    ],
)
def test_another_file_stays_a_file(part: dict[str, Any]) -> None:
    (found,) = shown(part)

    assert found.type == "data"


def test_a_text_file_in_the_output_of_a_function_is_text_too() -> None:
    output = [{"type": "input_text", "text": "Here:"}, file("n.txt", data_url(b"hi", "text/plain"))]
    call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "1", "output": output}

    messages = to_messages([], [call, result], trusts_roles=False)

    (content,) = messages[-1].contents
    assert [row.text for row in content.items or ()] == ["Here:", "\n[file n.txt]\nhi\n[end of n.txt]\n"]
