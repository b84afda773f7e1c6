"""What reaches the model of a file: the file where its client sends it, else a line that says what was there."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from agent_framework import Content, RawAgent, tool
from hosted import CLIENTS, PIXEL, hosting
from tests.stores import opened
from upstream import Text, ToolCall, Upstream, chat_completion_client, responses_client, turn

from hostedagent import AgentHost
from hostedagent.agents import sendable as module
from hostedagent.testing import serve

PDF = base64.b64encode(b"%PDF-1.7 secret").decode()
WAV = base64.b64encode(b"RIFF0000WAVE").decode()
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
IMAGE_URL = {"type": "input_image", "image_url": "https://x.example/cat.png"}
IMAGE_ID = {"type": "input_image", "file_id": "file_img"}
PDF_DATA = {"type": "input_file", "filename": "report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
PDF_URL = {"type": "input_file", "file_url": "https://x.example/report.pdf"}
FILE_ID = {"type": "input_file", "file_id": "file_1"}
NOTES = {
    "type": "input_file",
    "filename": "notes.txt",
    "file_data": f"data:text/plain;base64,{base64.b64encode(b'be brief').decode()}",
}
AUDIO = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
FLAC = {"type": "input_audio", "input_audio": {"data": WAV, "format": "flac"}}

PARTS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    # What is given, a word that the model must read of it in either form, and the clients that send it as it is.
    "image": (IMAGE, PIXEL, {"responses", "chat", "anthropic"}),
    "image by URL": (IMAGE_URL, "cat.png", {"responses", "chat", "anthropic"}),
    "image by id": (IMAGE_ID, "file_img", {"responses"}),
    "pdf": (PDF_DATA, "report.pdf", {"responses", "chat"}),
    "pdf by URL": (PDF_URL, "report.pdf", {"responses"}),
    "file by id": (FILE_ID, "file_1", {"responses"}),
    "audio": (AUDIO, "audio", {"responses", "chat"}),
    "audio that no client takes": (FLAC, "audio/flac", set()),
}
NOT_GIVEN = "cannot be given such a file"
every_client = pytest.mark.parametrize("name", CLIENTS)


def asked(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts]}]


@every_client
@pytest.mark.parametrize(("part", "word", "senders"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    "words", [(), ({"type": "input_text", "text": "What is this?"},)], ids=["alone", "asked about"]
)
async def test_a_file_in_a_message_is_sent_or_named(
    name: str, part: dict[str, Any], word: str, senders: set[str], words: tuple[dict[str, Any], ...]
) -> None:
    async with hosting(CLIENTS[name], tools=()) as host:
        host.script(Text("A cat."), Text("Yes."))
        await host.ask(asked(*words, part))
        first = json.dumps(host.sent)
        await host.then("Sure?")
        again = json.dumps(host.sent)

    for sent in (first, again):
        assert word in sent
        assert (NOT_GIVEN in sent) == (name not in senders)
    assert any(message.get("role") == "user" and message["content"] for message in json.loads(first))


@pytest.mark.parametrize("name", ["responses", "chat"])
async def test_audio_is_sent_as_audio_also_from_the_history(name: str) -> None:
    async with hosting(CLIENTS[name], tools=()) as host:
        host.script(Text("A bell."), Text("Yes."))
        await host.ask(asked(AUDIO))
        first = host.sent[-1]["content"]
        await host.then("Sure?")
        again = next(row["content"] for row in host.sent if row["role"] == "user")

    assert [part["type"] for part in (*first, *again)] == ["input_audio", "input_audio"]
    assert first[0]["input_audio"]["format"] == "wav"
    assert first[0]["input_audio"]["data"].endswith(WAV)


@every_client
async def test_a_text_file_is_read_as_text(name: str) -> None:
    async with hosting(CLIENTS[name], tools=()) as host:
        host.script(Text("Yes."))
        await host.ask(asked({"type": "input_text", "text": "Read"}, NOTES, {"type": "input_text", "text": "please"}))

        assert "\\n[file notes.txt]\\nbe brief\\n[end of notes.txt]\\n" in json.dumps(host.sent)


OUTPUTS: dict[str, tuple[Content, dict[str, Any], str, set[str]]] = {
    "image": (Content.from_uri(f"data:image/png;base64,{PIXEL}"), IMAGE, "image/png", {"responses", "anthropic"}),
    "pdf": (
        Content.from_uri(f"data:application/pdf;base64,{PDF}", name="report.pdf"),
        PDF_DATA,
        "report.pdf",
        {"responses"},
    ),
    "file by id": (Content.from_hosted_file("file_1"), FILE_ID, "file_1", {"responses"}),
}


@every_client
@pytest.mark.parametrize(("made", "part", "word", "senders"), OUTPUTS.values(), ids=OUTPUTS)
async def test_what_a_tool_of_the_agent_returns_is_sent_or_named(
    name: str, made: Content, part: dict[str, Any], word: str, senders: set[str]
) -> None:
    @tool
    def look() -> list[Content]:
        """Look."""
        return [Content.from_text("Seen:"), made]

    async with hosting(CLIENTS[name], tools=[look], own_tools="mcp_call") as host:
        host.script(turn(ToolCall("look", {})), Text("A cat."), Text("Yes."))
        log = await host.ask("Look.")
        first = json.dumps(host.sent)
        await host.then("Sure?")
        again = json.dumps(host.sent)

    assert NOT_GIVEN not in json.dumps(log.items)
    for sent in (first, again):
        assert word in sent or (word == "image/png" and PIXEL in sent)
        assert (NOT_GIVEN in sent) == (name not in senders)


@every_client
@pytest.mark.parametrize(("made", "part", "word", "senders"), OUTPUTS.values(), ids=OUTPUTS)
async def test_what_a_tool_of_the_caller_returns_is_sent_or_named(
    name: str, made: Content, part: dict[str, Any], word: str, senders: set[str]
) -> None:
    own: dict[str, Any] = {"type": "function", "name": "snap", "parameters": {"type": "object", "properties": {}}}
    async with hosting(CLIENTS[name], tools=()) as host:
        host.script(turn(ToolCall("snap", {})), Text("A cat."))
        log = await host.ask("Look.", tools=[own])
        call = next(item for item in log.items if item["type"] == "function_call")
        answer = {"type": "function_call_output", "call_id": call["call_id"], "output": [part]}
        await host.then([answer], tools=[own])
        sent = json.dumps(host.sent)

    assert word in sent or (word == "image/png" and PIXEL in sent)
    assert (NOT_GIVEN in sent) == (name not in senders)


SCREEN = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PIXEL}"}
TOOLS: dict[str, tuple[list[dict[str, Any]], str]] = {
    # What a caller sends of a tool, and what the model must read of it.
    "a shell call": ([{"type": "shell_call", "call_id": "c", "action": {"commands": ["ls -a"]}}], "ls -a"),
    "a shell's output": (
        [{"type": "shell_call_output", "call_id": "c", "output": [
            {"stdout": "b.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]}], "b.txt"),
    "a local shell call that nobody answered": (
        [{"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}}], "ls"),
    "a computer call": (
        [{"type": "computer_call", "call_id": "c", "action": {"type": "wait"}}], "wait"),
    "a screenshot": ([{"type": "computer_call_output", "call_id": "c", "output": SCREEN}], "screenshot"),
    "a call of an MCP server": (
        [{"type": "mcp_call", "server_label": "s", "name": "find", "arguments": "{}", "output": "found"}], "found"),
    "a call of a custom tool": (
        [{"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
         {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}], "*** Begin"),
    "a call whose arguments are no object": (
        [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{not json"},
         {"type": "function_call_output", "call_id": "c", "output": "done"}], "{not json"),
    "reasoning of another service": (
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "blob"},
         {"role": "assistant", "content": "So it is."}], "So it is."),
}  # fmt: skip


@every_client
@pytest.mark.parametrize(("items", "word"), TOOLS.values(), ids=TOOLS)
async def test_what_a_caller_sends_of_a_tool_is_sent_or_named_in_every_turn(
    name: str, items: list[dict[str, Any]], word: str
) -> None:
    async with hosting(CLIENTS[name], tools=()) as host:
        host.script(Text("Yes."), Text("Sure."))
        first = await host.ask([*asked({"type": "input_text", "text": "Look."}), *items, *asked(IMAGE)])
        sent = json.dumps(host.sent)
        then = await host.then("Sure?")
        again = json.dumps(host.sent)

    assert (first.status, then.status) == ("completed", "completed")
    assert word in sent and again.startswith(sent[:-1])


async def test_what_is_replaced_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "count_left_out", lambda how, kind: counted.append((how, kind)))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    async with hosting(chat_completion_client, tools=()) as host:
        host.script(Text("Yes."))
        await host.ask(asked(FILE_ID, IMAGE))

    assert counted == [("placeholder", "hosted_file")]


@every_client
async def test_an_agent_without_middleware_sends_or_names_it_too(name: str) -> None:
    async with Upstream() as upstream, opened() as (stores, identified):
        upstream.script(Text("Yes."))
        agent = RawAgent(client=CLIENTS[name](upstream))
        async with serve(identified(AgentHost(agent, stores=stores).app)) as client:
            reply = await client.post("/responses", json={"input": asked(FILE_ID)})

    assert reply.json()["status"] == "completed"
    assert (NOT_GIVEN in json.dumps(upstream.requests[-1])) == (name != "responses")
    assert "file_1" in json.dumps(upstream.requests[-1])


async def test_nothing_is_added_where_everything_is_sent() -> None:
    async with hosting(responses_client, tools=()) as host:
        host.script(Text("Yes."))
        await host.ask(asked(IMAGE, PDF_DATA, FILE_ID))

        assert [part["type"] for part in host.sent[-1]["content"]] == ["input_image", "input_file", "input_file"]
