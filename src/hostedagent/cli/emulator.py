"""`hostedagent emulator`: serves the Foundry storage API on loopback, over HTTPS, in memory."""

from __future__ import annotations

import asyncio
import math
import shlex
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from hostedagent.cli.group import CommandError
from hostedagent.cli.port import port_number
from hostedagent.errors import ConfigurationError

if TYPE_CHECKING:
    from hostedagent.emulator import Emulator


def _seconds(text: str) -> float:
    """Parse a duration."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise click.BadParameter(f"{text!r} is not a number of seconds: write, for example, 0.2.")
    return seconds


@click.command()
@click.option(
    "--port", type=port_number, default="0", metavar="PORT", help="The port on loopback.  [default: any free port]"
)
@click.option(
    "--latency", type=_seconds, default="0", metavar="SECONDS", help="The time that every request takes.  [default: 0]"
)
@click.option("--require-user", is_flag=True, help="Answer requests without a call id with 401.")
def command(port: int, latency: float, require_user: bool) -> int:
    """Serve the Foundry storage API on this machine, over HTTPS, in memory, until Ctrl+C.

    Export the lines that it prints before `hostedagent run`: the agent then stores responses and state there, as it
    does when hosted. The call id of a request names the user: everything before its first dot.
    """
    from hostedagent.emulator import Emulator

    emulator = Emulator(port=port, latency=latency, anonymous="refuse" if require_user else "allow")
    try:
        asyncio.run(_serve(emulator))
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"Cannot listen on port {port}: {error}") from error
    return 0


async def _serve(emulator: Emulator) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl+C ends asyncio.run, which also removes the files.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    async with emulator:
        for name, value in emulator.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# Serving {emulator.endpoint}. Stop with Ctrl+C.", flush=True)
        await stopped.wait()
