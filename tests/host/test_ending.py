"""How a process ends that was told to, with clients and coroutines that do not want it to."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from hostedagent.cli.run import free_port
from tests.patience import PATIENCE

SERVER = """
import asyncio, sys, threading
from hostedagent import AgentHost, HostOptions
from hostedagent.agents import pump
from hostedagent.server import uvicorn as on_uvicorn
from hostedagent.testing import ScriptedAgent

on_uvicorn.HANGING_SECONDS, on_uvicorn.LAST_SECONDS, pump.STOP_SECONDS = float(sys.argv[2]), 0.5, 0.1
on_uvicorn.AGAIN_SECONDS = 1_000.0

never = asyncio.Event()

async def deaf():
    print("deaf", flush=True)
    while True:
        try:
            await never.wait()
        except asyncio.CancelledError:
            pass

def factory(request):
    match request.metadata.get("does"):
        case "exits":
            return ScriptedAgent(["Sun", SystemExit("secret-1")])
        case "is deaf":
            return ScriptedAgent(["Sun", deaf])
        case "talks":
            return ScriptedAgent(["word " * 2000] * 2000)
        case _:
            return ScriptedAgent(["ok"])

host = AgentHost(factory, options=HostOptions(shutdown_grace=0))
host.run(host="127.0.0.1", port=int(sys.argv[1]), on_listening=lambda: print("ready", flush=True))
for thread in threading.enumerate():
    if thread.name == "hostedagent-end":
        thread.join()  # It ends the process, unless the server has ended.
print("ran", flush=True)
sys.stdin.read()
"""


@dataclass(slots=True)
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    port: int

    def connect(self, data: bytes, *, window: int | None = None) -> socket.socket:
        """A connection on which something was sent."""
        connection = socket.socket()
        if window is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(data)
        return connection

    def ask(self, does: str, **fields: Any) -> bytes:
        """A request, as it is sent."""
        body = json.dumps({"input": "hi", "metadata": {"does": does}, **fields}).encode()
        return b"POST /responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    def answered(self) -> str:
        """What a plain turn says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", "/responses", json.dumps({"input": "hi"}))
        response = json.loads(connection.getresponse().read())
        connection.close()
        return response["output"][0]["content"][0]["text"]

    def listens(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        except ConnectionError:
            return False
        return True

    def ended(self) -> tuple[int, str]:
        """Tell it to end: the exit code, and all that it printed."""
        self.process.send_signal(signal.SIGTERM)
        return self.waited_for()

    def waited_for(self) -> tuple[int, str]:
        """Wait until it ends: the exit code, and what it printed."""
        said, _ = self.process.communicate(timeout=PATIENCE)  # Less than uvicorn would wait for what hangs.
        return self.process.returncode, said

    def ends_in_order(self, *, is_told: bool = False) -> None:
        """Tell it to end, unless it was told, and see that it does so without an error."""
        code, said = self.waited_for() if is_told else self.ended()
        assert code == 0
        assert said.endswith("ran\n")
        assert "Traceback" not in said


def started(hanging: float) -> Running:
    """A server that is ready, and waits so many seconds for clients that hang."""
    said = ""
    for _ in range(3):  # Someone else may take the port before the server does.
        port = free_port("127.0.0.1", 0)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port), str(hanging)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        if (said := process.stdout.readline()) == "ready\n":
            return Running(process, port)
        process.kill()
        said += process.communicate()[0]
    raise AssertionError(said)


@contextmanager
def serving(hanging: float = 0.5) -> Generator[Running]:
    server = started(hanging)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("store", [True, False])
def test_clients_that_hang_do_not_keep_the_process(store: bool) -> None:
    with serving() as server:
        half = server.connect(b"POST /responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        deaf = server.connect(server.ask("talks", stream=True, store=store), window=2048)
        assert deaf.recv(1)
        assert server.answered() == "ok"
        server.ends_in_order()
        half.close()
        deaf.close()


def test_one_ctrl_c_that_comes_twice_is_one() -> None:
    with serving(PATIENCE) as server:
        half = server.connect(b"POST /responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        assert server.answered() == "ok"
        server.process.send_signal(signal.SIGINT)
        while server.listens():
            pass
        server.process.send_signal(signal.SIGINT)
        half.close()  # The server waits for its client, and would not after another Ctrl+C.
        server.ends_in_order(is_told=True)


def test_one_ctrl_c_that_comes_again_when_the_server_has_ended_interrupts_nothing() -> None:
    with serving() as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.stdout is not None and server.process.stdout.readline() == "ran\n"
        server.process.send_signal(signal.SIGINT)
        assert server.waited_for() == (0, "")


def test_a_coroutine_that_ignores_its_cancellation_does_not_keep_the_process() -> None:
    with serving() as server:
        connection = server.connect(server.ask("is deaf", stream=True))
        assert server.process.stdout is not None and server.process.stdout.readline() == "deaf\n"
        code, said = server.ended()
        connection.close()

    assert code == 1
    assert "ignored its cancellation" in said


def test_an_agent_that_exits_fails_its_turn_and_ends_nothing_else() -> None:
    with serving() as server:
        connection = server.connect(server.ask("exits"))
        read = b""
        while b'"status":"failed"' not in read:
            read += (more := connection.recv(65536))
            assert more, read
        connection.close()
        assert server.answered() == "ok"
        code, said = server.ended()

    assert code == 0
    assert "ExitInTurn from SystemExit" in said
    assert "secret-1" not in said
