"""`hostedagent invoke` against real servers: the samples' agents, and a deployed one on a fake Foundry."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from hostedagent.cli import main
from hostedagent.cli.invoke.answers import Asker
from hostedagent.cli.invoke.conversation import Conversation, message
from hostedagent.cli.invoke.endpoint import Endpoint, find
from hostedagent.cli.invoke.header import header, joined
from hostedagent.cli.invoke.printing import PRINTERS, Printer
from hostedagent.protocol.types import Item
from tests.samples.server import served

ASKS = "Send 5 euros to Ada."
DONE = "sent 5 euros to Ada"

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def hello() -> Iterator[str]:
    with served("samples/hello/agent.py") as url:
        yield url


@pytest.fixture(scope="module")
def approvals() -> Iterator[str]:
    with served("samples/approvals/agent.py") as url:
        yield url


@pytest.fixture(scope="module")
def workflow() -> Iterator[str]:
    with served("samples/workflow/agent.py") as url:
        yield url


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


class Terminal(io.StringIO):
    """Somebody who types lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command; `typed` is what somebody at the terminal types."""

    def run(*arguments: str, typed: str | None = None, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped) if typed is None else Terminal(typed))
        code = main(["invoke", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.mark.parametrize("mode", [(), ("--stream",)])
def test_the_text_is_printed(invoke: Invoke, hello: str, mode: tuple[str, ...]) -> None:
    assert invoke("My name is Ada.", "--url", hello, *mode) == (0, "Nice to meet you, Ada.\n", "")


def test_the_text_may_come_from_standard_input(invoke: Invoke, hello: str) -> None:
    assert invoke("--url", hello, piped="My name is Ada.\n")[1] == "Nice to meet you, Ada.\n"


def test_nothing_to_say_is_a_wrong_command_line(invoke: Invoke, hello: str) -> None:
    code, _, said = invoke("--url", hello)

    assert (code, said) == (2, 'hostedagent: There is nothing to say: hostedagent invoke "text".\n')


def test_it_goes_on_where_it_ended(invoke: Invoke, hello: str) -> None:
    invoke("My name is Ada.", "--url", hello)

    assert "Ada" in invoke("What is my name?", "--url", hello, "--continue")[1]
    assert "Ada" not in invoke("What is my name?", "--url", hello)[1]


def test_it_goes_on_in_a_conversation(invoke: Invoke, hello: str) -> None:
    invoke("My name is Ada.", "--url", hello, "--conversation", "conv_1")

    assert "Ada" in invoke("What is my name?", "--url", hello, "--conversation", "conv_1")[1]
    assert "Ada" in invoke("What is my name?", "--url", hello, "--continue")[1]


def test_headers_go_along(invoke: Invoke, hello: str) -> None:
    as_ada = ("--header", "x-agent-user-id: ada", "-H", "x-client-name:ada")
    assert invoke("My name is Ada.", "--url", hello, *as_ada)[0] == 0

    assert invoke("What is my name?", "--url", hello, "--continue")[0] == 1
    assert "Ada" in invoke("What is my name?", "--url", hello, "--continue", *as_ada)[1]


@pytest.mark.parametrize("text", ["x-agent-user-id", "x-agent-user-id ada", ": ada", "x agent: ada", ""])
def test_a_header_without_a_name_and_a_colon_is_a_wrong_command_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invoke", "hi", "--header", text]) == 2

    assert f"'--header': {text!r} is not a header: write \"name: value\".\n" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0"])
def test_a_header_is_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "hi", "--header", f"x-a: {value}"]) == 2

    assert "'x-a' has a line break" in capsys.readouterr().err


def test_a_header_takes_the_place_of_one_of_its_own_and_may_be_there_twice() -> None:
    own = {"authorization": "Bearer token-1", "x-b": "own"}
    added = [header("Authorization: Basic me:word"), header("x-a: 1"), header("X-A:2"), header("x-empty:")]

    assert sorted(joined(own, added)) == [
        ("Authorization", "Basic me:word"),
        ("X-A", "2"),
        ("x-a", "1"),
        ("x-b", "own"),
        ("x-empty", ""),
    ]


def test_there_may_be_nothing_to_continue(invoke: Invoke, hello: str) -> None:
    code, _, said = invoke("And?", "--url", hello, "--continue")

    assert code == 2
    assert "was not asked before" in said


def test_events_are_lines(invoke: Invoke, hello: str) -> None:
    code, shown, _ = invoke("My name is Ada.", "--url", hello, "--events")

    lines = shown.splitlines()
    assert code == 0
    assert lines[0] == "0 created in_progress"
    assert '5 text 0.0 "to "' in lines
    assert lines[-1].split()[1] == "completed"


def test_the_response_is_json(invoke: Invoke, hello: str) -> None:
    code, shown, _ = invoke("My name is Ada.", "--url", hello, "--json")

    response = json.loads(shown)
    assert (code, response["status"]) == (0, "completed")
    assert response["output"][0]["content"][0]["text"] == "Nice to meet you, Ada."


def test_nobody_answers(invoke: Invoke) -> None:
    code, _, said = invoke("hi", "--url", "http://127.0.0.1:1", "--wait", "0")

    assert code == 1
    assert said == (
        "hostedagent: Nothing answers at http://127.0.0.1:1/responses. Start it with: hostedagent run FILE\n"
    )


def test_a_refusal_is_told(invoke: Invoke, hello: str) -> None:
    code, _, said = invoke("hi", "--url", f"{hello}/nothing")

    assert code == 1
    assert said.startswith("hostedagent: The agent refused with 404: ")


@pytest.mark.parametrize(("typed", "ran"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_an_approval_is_asked_for_at_the_terminal(invoke: Invoke, approvals: str, typed: str, ran: bool) -> None:
    code, shown, said = invoke(ASKS, "--url", approvals, typed=typed)

    assert code == 0
    assert said.count("? [y/N/always] ") == 1
    assert (DONE in shown) is ran


def test_an_answer_that_is_neither_yes_nor_no_is_asked_again(invoke: Invoke, approvals: str) -> None:
    code, shown, said = invoke(ASKS, "--url", approvals, typed="maybe\ny\n")

    assert code == 0
    assert said.count("? [y/N/always] ") == 2
    assert DONE in shown


def test_the_end_of_the_input_decides_nothing(invoke: Invoke, approvals: str) -> None:
    code, _, said = invoke(ASKS, "--url", approvals, typed="")

    assert code == 3
    assert "[y/N/always] \nhostedagent: send_money(" in said and said.endswith("waits for approval\n")


@pytest.mark.parametrize("mode", [(), ("--stream",)])
def test_a_rejected_call_is_not_printed_as_if_it_ran(invoke: Invoke, approvals: str, mode: tuple[str, ...]) -> None:
    said = invoke(ASKS, "--url", approvals, "--reject", *mode)[2]

    assert [line for line in said.splitlines() if line.startswith(("<", ">"))] == []
    assert [line.split("(")[0] for line in said.splitlines() if line.endswith(" rejected")] == ["x send_money"]


@pytest.mark.parametrize(("flag", "ran"), [("--approve", True), ("--reject", False)])
def test_approvals_may_be_answered_beforehand(invoke: Invoke, approvals: str, flag: str, ran: bool) -> None:
    code, shown, said = invoke(ASKS, "--url", approvals, "--stream", flag)

    assert code == 0
    assert "[y/N" not in said
    assert (DONE in shown) is ran


ASKS_ONCE = """
from agent_framework import Agent, Content, ToolApprovalMiddleware, tool
from hostedagent.testing import OfflineChatClient

@tool(approval_mode="always_require")
def send(to: str) -> str:
    "Send something."
    return f"sent to {to}"

def call(n):
    return [Content.from_function_call(f"call-{n}", "send", arguments='{"to": "Ada"}')]

model = OfflineChatClient(script=[call(1), "Done.", call(2), "Done again."])
agent = Agent(model, tools=[send], middleware=[ToolApprovalMiddleware()])
"""


@pytest.mark.parametrize(("typed", "flags"), [("always\n", ()), (None, ("--always-approve",))])
def test_an_approval_may_hold_from_now_on(
    invoke: Invoke, tmp_path: Path, typed: str | None, flags: tuple[str, ...]
) -> None:
    (tmp_path / "agent.py").write_text(ASKS_ONCE)
    with served(str(tmp_path / "agent.py")) as url:
        code, shown, _ = invoke("Send it.", "--url", url, "--conversation", "c1", *flags, typed=typed)
        assert (code, shown) == (0, "Done.\n")

        code, shown, said = invoke("Once more.", "--url", url, "--conversation", "c1")

    assert (code, shown) == (0, "Done again.\n")
    assert "waits for approval" not in said


def test_without_a_terminal_an_approval_waits(invoke: Invoke, approvals: str) -> None:
    code, _, said = invoke(ASKS, "--url", approvals)

    assert code == 3
    assert "waits for approval: --approve, --reject" in said


def test_without_a_terminal_a_question_waits_and_is_told_without_its_schema(invoke: Invoke, workflow: str) -> None:
    code, _, said = invoke("New bicycles", "--url", workflow)

    assert code == 3
    assert 'Choice {"slogans": [' in said.splitlines()[-1]
    assert "waits for its output: answer at a terminal" in said.splitlines()[-1]
    assert "response_schema" not in said


def test_a_question_of_a_workflow_is_asked_as_a_form_until_its_answer_fits(invoke: Invoke, workflow: str) -> None:
    code, shown, said = invoke("New bicycles", "--url", workflow, typed="3\n2\n")

    assert code == 0
    assert said.splitlines()[:5] == [
        "Choice",
        "  slogans:",
        "  - New bicycles? Go big!",
        "  - New bicycles? Take your time.",
        "Number (integer, at least 1, at most 2): Number must be at most 2.",
    ]
    assert "schema" not in said
    assert shown.splitlines()[-1] == "Printed: New bicycles? Take your time."


def test_the_time_of_an_answer_is_without_that_of_the_prompt_before_it(
    approvals: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0

    class Slow(Asker):
        def answers(self, items: Sequence[Item]) -> list[Item] | None:
            nonlocal now
            now += 1000
            return super().answers(items)

    monkeypatch.setattr("hostedagent.cli.invoke.printing.time.monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Conversation(find(approvals, None, None), PRINTERS["text"](), Slow("approve")) as conversation:
        conversation.say(message(ASKS, []))

    times = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" s")]
    assert [line.rpartition(", ")[2] for line in times] == ["0.0 s", "0.0 s"]


def test_a_file_goes_along(invoke: Invoke, hello: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")

    code, shown, _ = invoke("My name is Ada.", "--url", hello, "--file", str(tmp_path / "a.txt"))

    assert (code, shown) == (0, "Nice to meet you, Ada.\n")


def test_a_file_that_is_missing_is_named(invoke: Invoke) -> None:
    code, _, said = invoke("hi", "--file", "missing.png")

    assert (code, said) == (2, "hostedagent: missing.png cannot be read: No such file or directory.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--url", "localhost:8088"), "must begin with http:// or https://"),
        (("--agent", "a", "--url", "http://a"), "leave one of them out"),
        (("--agent", "a"), "--agent needs its Foundry project"),
        (("--agent", "a", "--project", "http://a"), "must begin with https://"),
        (("--project", "https://a"), "--project needs --agent"),
    ],
)
def test_where_the_agent_is_must_be_clear(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.delenv("FOUNDRY_PROJECT_ENDPOINT", raising=False)
    code, _, said = invoke("hi", *arguments)

    assert code == 2
    assert says in said


class SignedIn:
    """A credential that is good for one scope."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://ai.azure.com/.default",)
        return AccessToken("token-1", 2**40)

    async def __aenter__(self) -> SignedIn:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


async def test_a_deployed_agent_is_asked_with_a_token_and_in_the_same_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.headers.get("authorization"), await request.json()))
        body: dict[str, Any] = {"id": f"caresp_{len(asked)}", "status": "completed", "output": []}
        return web.json_response(body, headers={"x-agent-session-id": "sandbox-1"})

    app = web.Application()
    app.router.add_post("/api/projects/p/agents/writer/endpoint/protocols/openai/responses", answer)
    async with TestServer(app) as server:
        found = find(None, "writer", "https://account/api/projects/p")
        local = Endpoint(found.url.replace("https://account", str(server.make_url("")).rstrip("/")), is_deployed=True)
        monkeypatch.setattr("hostedagent.cli.invoke.endpoint.default_credential", SignedIn)

        def talk() -> None:
            with Conversation(local, Printer(), Asker(None)) as first:
                first.say(message("one", []))
            with Conversation(local, Printer(), Asker(None)) as again:
                again.resume()
                again.say(message("two", []))

        await asyncio.to_thread(talk)

    paths, tokens, bodies = zip(*asked, strict=True)
    assert set(paths) == {"/api/projects/p/agents/writer/endpoint/protocols/openai/responses?api-version=v1"}
    assert set(tokens) == {"Bearer token-1"}
    assert bodies[1]["previous_response_id"] == "caresp_1"
    assert (bodies[0].get("agent_session_id"), bodies[1]["agent_session_id"]) == (None, "sandbox-1")


def test_without_credentials_it_says_how_to_sign_in(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    class SignedOut(SignedIn):
        async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            raise ClientAuthenticationError("a long story")

    monkeypatch.setattr("hostedagent.cli.invoke.endpoint.default_credential", SignedOut)
    code, _, said = invoke("hi", "--agent", "writer", "--project", "https://account/api/projects/p")

    assert (code, said) == (1, "hostedagent: There are no Azure credentials. Sign in with: azd auth login\n")
