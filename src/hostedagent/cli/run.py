"""Serve an agent or a workflow over the Responses protocol.

MODULE_OR_FILE is a path to a Python file or a dotted module. NAME is an agent, an AgentHost, or a function that makes
an agent or a workflow; without it, the one that the module has.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from hostedagent.cli.loader import Target, TargetError, UserCodeError, as_host, load

DEFAULT_PORT: Final = 8088

_LISTENS: Final = "Running on "
"""How the record begins that Hypercorn logs once its sockets listen."""


class PortError(Exception):
    """The port is no port, or cannot be bound; the message is one line for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`."""
    parser.add_argument(
        "target",
        metavar="MODULE_OR_FILE[:NAME]",
        nargs="?",
        default="main.py",
        help="what to serve (default: %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to bind (default: %(default)s)")
    parser.add_argument("--port", type=int, help=f"the port; 0 for any free one (default: $PORT, else {DEFAULT_PORT})")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl+C or SIGTERM."""
    started = time.perf_counter()
    try:
        target = Target.parse(arguments.target)
        _say(f"Loading {target.place} ...")
        port = free_port(arguments.host, wanted_port(arguments.port))
        host = as_host(load(target), target)
    except (TargetError, PortError) as error:
        return _fail(str(error), 1 if isinstance(error, PortError) else 2)
    except UserCodeError as error:
        return _fail(f"{error.target} raised while it was loaded:\n\n{error.traceback().rstrip()}", 1)
    url = f"http://{_shown(arguments.host)}:{port}"
    when_listening(
        lambda: _say(f"Ready at {url}/responses after {time.perf_counter() - started:.1f} s. Stop with Ctrl+C.")
    )
    try:
        host.run(host=arguments.host, port=port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _fail(_in_use(arguments.host, port), 1)
    return 0


def wanted_port(option: int | None) -> int:
    """The port to bind: the option, else `PORT`, else 8088.

    Raises:
        PortError: It is no port.
    """
    text = str(option) if option is not None else os.environ.get("PORT") or str(DEFAULT_PORT)
    if not text.isdecimal() or int(text) > 65535:
        raise PortError(f"{text!r} is not a port: {'--port' if option is not None else 'PORT'} must be 0 to 65535.")
    return int(text)


def free_port(host: str, port: int) -> int:
    """Check that an address can be bound, before anything slow is loaded; port 0 becomes a free one.

    Raises:
        PortError: It cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortError(_in_use(host, port)) from error
            raise PortError(f"Cannot bind {host}:{port}: {error.strerror or error}.") from error
        return int(probe.getsockname()[1])


def when_listening(tell: Callable[[], None]) -> None:
    """Call `tell` when the server listens, in place of the server's own line about it."""

    def keep(record: logging.LogRecord) -> bool:
        if not record.getMessage().startswith(_LISTENS):
            return True
        tell()
        return False

    logging.getLogger("hypercorn.error").addFilter(keep)


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _in_use(host: str, port: int) -> str:
    return f"Port {port} of {host} is in use. Stop what uses it, or choose another with --port."


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(message: str, code: int) -> int:
    print(f"hostedagent: {message}", file=sys.stderr)
    return code
