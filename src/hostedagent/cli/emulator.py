"""Serve the Foundry storage API on this machine, over HTTPS, in memory, until Ctrl+C.

Export the lines it prints before `hostedagent run`, and the agent keeps responses and state there, as it would when
hosted. The call id of a request names the user: everything before its first dot.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from hostedagent.cli.port import port_number

if TYPE_CHECKING:
    from hostedagent.emulator import Emulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `emulator`."""
    parser.add_argument("--port", type=port_number, default=0, help="the port on loopback (default: any free one)")
    parser.add_argument(
        "--latency", type=_seconds, default=0.0, metavar="SECONDS", help="how long every request takes (default: 0)"
    )
    parser.add_argument("--require-user", action="store_true", help="answer requests without a call id with 401")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl+C or SIGTERM."""
    from hostedagent.emulator import Emulator

    emulator = Emulator(
        port=arguments.port,
        latency=arguments.latency,
        anonymous="refuse" if arguments.require_user else "allow",
    )
    try:
        asyncio.run(_serve(emulator))
    except OSError as error:
        print(f"hostedagent: cannot listen on port {arguments.port}: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(emulator: Emulator) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not on Windows; there the interrupt ends asyncio.run, and the files go with it as well.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    async with emulator:
        for name, value in emulator.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# Serving {emulator.endpoint}. Stop with Ctrl+C.", flush=True)
        await stopped.wait()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
