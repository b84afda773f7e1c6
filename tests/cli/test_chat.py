"""`hostedagent chat` against a server, with lines from a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hostedagent.cli import main
from tests.samples.server import served

Chat = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def hello() -> Iterator[str]:
    with served("samples/hello/agent.py") as url:
        yield url


@pytest.fixture
def chat(hello: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chat:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    def run(*lines: str, arguments: tuple[str, ...] = ()) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = main(["chat", "--url", hello, *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_each_line_is_a_turn_of_one_conversation(chat: Chat) -> None:
    code, shown, _ = chat("My name is Ada.", "", "What is my name?")

    assert code == 0
    assert shown.splitlines()[0] == "Nice to meet you, Ada."
    assert "Ada" in shown.splitlines()[1]


def test_a_new_conversation_remembers_nothing(chat: Chat) -> None:
    _, shown, _ = chat("My name is Ada.", "/new", "What is my name?", "/quit", "not said")

    assert "Ada" not in shown.splitlines()[-1]


def test_a_turn_may_be_continued_a_second_time(chat: Chat) -> None:
    _, shown, _ = chat("My name is Ada.", "My name is Bob.", "/back 1", "What is my name?", "/turns")

    lines = shown.splitlines()
    assert "Ada" in lines[3] and "Bob" not in lines[3]
    assert lines[4:] == ["  1  My name is Ada.", "  2  My name is Bob.", "* 3 (after 1)  What is my name?"]


def test_a_chat_continues_the_one_before(chat: Chat) -> None:
    chat("My name is Ada.")

    assert "Ada" in chat("What is my name?", arguments=("--continue",))[1]


def test_a_file_goes_with_the_next_message(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")

    _, shown, _ = chat(f"/file {tmp_path / 'a.txt'}", "My name is Ada.", "/file missing.txt")

    assert shown.splitlines() == [
        "a.txt goes with the next message.",
        "Nice to meet you, Ada.",
        "There is no file 'missing.txt'.",
    ]


@pytest.mark.parametrize(
    ("line", "answer"), [("/nothing", "There is no command /nothing."), ("/back 7", "/back takes the number of a turn")]
)
def test_a_wrong_command_is_answered_with_help(chat: Chat, line: str, answer: str) -> None:
    code, shown, _ = chat(line)

    assert code == 0 and shown.startswith(answer)


def test_a_turn_that_fails_does_not_end_the_chat(chat: Chat) -> None:
    code, _, said = chat("one", "two", arguments=("--url", "http://127.0.0.1:1", "--wait", "0"))

    assert code == 0
    assert said.count("Nothing answers at") == 2


class Cut(BaseHTTPRequestHandler):
    """Streams the beginning of a message, and ends."""

    def do_POST(self) -> None:
        delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "cut off"}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test reads standard error."""


def test_what_follows_a_stream_that_broke_begins_on_a_line_of_its_own(chat: Chat) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        _, shown, said = chat("one", "/turns", arguments=("--url", f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()

    assert shown == "cut off\nThere are no turns yet.\n"
    assert said == "hostedagent: The stream ended before the response did.\n"
