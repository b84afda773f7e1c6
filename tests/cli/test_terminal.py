"""The command at a terminal, as a person meets it: prompts, signals, progress, completion, and servers out of reach."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hostedagent.cli import main
from hostedagent.cli.port import free_port
from hostedagent.cli.run import RunOptions, command
from hostedagent.emulator import Emulator
from tests.cli.terminal import terminal
from tests.patience import PATIENCE
from tests.samples.server import served

ASKS = "Send 5 euros to Ada."
PROMPT = "[y/N/always]"


@pytest.fixture(scope="module")
def approvals() -> Iterator[str]:
    with served("samples/approvals/agent.py") as url:
        yield url


@pytest.mark.parametrize("name", ["invoke", "chat"])
def test_ctrl_c_at_a_prompt_ends_it_at_once(name: str, approvals: str, tmp_path: Path) -> None:
    arguments = ["-m", "hostedagent", name, *([ASKS] if name == "invoke" else []), "--url", approvals]
    with terminal(arguments, home=tmp_path) as screen:
        if name == "chat":
            screen.see("you> ")
            screen.type(f"{ASKS}\n")
        screen.see(PROMPT)
        screen.type("\x03")
        if name == "chat":  # It ends the answer, not the conversation.
            screen.see("you> ")
            screen.type("\x04")
        code = screen.ended()
    assert code == (130 if name == "invoke" else 0), screen.seen
    assert "Traceback" not in screen.seen
    assert "sent 5 euros" not in screen.seen


def test_what_takes_long_is_shown_while_it_runs_and_erased_after_it(tmp_path: Path) -> None:
    program = (
        "import sys; from hostedagent.cli.progress import progress\n"
        "with progress('Making the lock', after=0):\n    sys.stdin.readline()\n"
        "print('Done.')"
    )
    with terminal(["-c", program], home=tmp_path) as screen:
        screen.see("Making the lock ...")
        screen.type("\n")
        assert screen.ended() == 0
    assert re.search(r"\x1b\[2K.*Done\.", screen.seen, re.DOTALL)


def test_without_a_terminal_no_progress_is_shown(tmp_path: Path) -> None:
    program = "from hostedagent.cli.progress import progress\nwith progress('Making', after=0): print('Done.')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("Done.\n", "")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://no-such-host.invalid", "There is no host 'no-such-host.invalid'"),
        ("https://PLAIN", "There is no TLS connection to https://"),
        ("http://127.0.0.1:1", "Nothing answers at http://127.0.0.1:1/responses. Start it with: hostedagent run"),
    ],
)
def test_what_keeps_a_server_out_of_reach_is_told(
    address: str, says: str, approvals: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = address.replace("PLAIN", approvals.removeprefix("http://"))
    assert main(["invoke", "hi", "--url", url, "--wait", "0"]) == 1
    assert says in capsys.readouterr().err


async def test_a_certificate_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        origin = emulator.endpoint.partition("/api/")[0]
        environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hostedagent", "invoke", "hi", "--url", origin, "--wait", "0"),
            env={**environment, "HOME": str(tmp_path)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"The certificate of localhost is not trusted" in said and b"SSL_CERT_FILE" in said


def test_a_server_that_starts_is_waited_for(tmp_path: Path) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(503, "It has come.")

        def log_message(self, format: str, *args: object) -> None: ...

    port = free_port("127.0.0.1", 0)
    arguments = ["-m", "hostedagent", "invoke", "hi", "--url", f"http://127.0.0.1:{port}", "--wait", str(PATIENCE)]
    with terminal(arguments, home=tmp_path) as screen:
        screen.see("Waiting for")
        server = HTTPServer(("127.0.0.1", port), Refuses)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            screen.see("The agent refused with 503")
        finally:
            server.shutdown()
            server.server_close()
        assert screen.ended() == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    def asked(instruction: str, **variables: str) -> str:
        program = "from hostedagent.cli import main; import sys; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "_HOSTEDAGENT_COMPLETE": f"{shell}_{instruction}", **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout

    script = asked("source")
    if shell == "bash" and not script:
        pytest.skip("no bash that is new enough")
    assert "hostedagent" in script
    at = {"COMP_CWORD": "1"} if shell != "fish" else {"COMP_CWORD": "in"}
    found = asked("complete", COMP_WORDS="hostedagent in", **at)
    assert "init" in found and "invoke" in found and "doctor" not in found


def test_only_a_hosted_process_is_reached_from_elsewhere_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given = command.make_context("run", ["agent.py"]).params
    assert RunOptions(**given).address == "127.0.0.1"
    monkeypatch.setenv("FOUNDRY_HOSTING_ENVIRONMENT", "hosted")
    assert RunOptions(**given).address == "0.0.0.0"
