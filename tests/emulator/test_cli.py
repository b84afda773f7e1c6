import asyncio
import os
import shlex
import signal
import socket
import sys

import pytest

from hostedagent.cli import main

PROGRAM = """
import asyncio
from azure.ai.agentserver.core.storage import FoundryStateStore

async def write():
    store = await FoundryStateStore.get_or_create("s")
    await store.set_item("k", {})
    await store.aclose()

asyncio.run(write())
"""


async def test_the_command_prints_what_to_export_and_serves_until_it_is_interrupted() -> None:
    command = [sys.executable, "-c", "import sys; from hostedagent.cli import main; sys.exit(main())", "emulator"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    exported: dict[str, str] = {}
    while (line := (await server.stdout.readline()).decode()).startswith("export "):
        name, _, value = shlex.split(line)[1].partition("=")
        exported[name] = value
    assert line == f"# Serving {exported['FOUNDRY_PROJECT_ENDPOINT']}. Stop with Ctrl+C.\n"
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", PROGRAM, env={**os.environ, **exported}
    )
    assert await client.wait() == 0
    server.send_signal(signal.SIGINT)
    assert await server.wait() == 0


def test_a_port_in_use_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["emulator", "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"hostedagent: Cannot listen on port {port}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "abc", ""])
def test_a_latency_that_is_not_a_duration_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", f"--latency={wrong}"]) == 2
    message = capsys.readouterr().err.splitlines()[0]
    assert message == (
        f"hostedagent: Invalid value for '--latency': {wrong!r} is not a number of seconds: write, for example, 0.2."
    )
