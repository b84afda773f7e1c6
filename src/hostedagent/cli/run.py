"""Serve an agent or a workflow over the Responses protocol.

MODULE_OR_FILE is a path to a Python file or a dotted module; without it, main.py, agent.py or app.py, the first that is
there. NAME is an agent, an AgentHost, or a function that makes an agent or a workflow; without it, the one that the
module has.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hostedagent.cli.loader import USUAL_NAMES, Target, TargetError, UserCodeError, as_host, load, usual
from hostedagent.cli.port import DEFAULT_PORT, PortError, free_port, in_use, port_number, wanted_port
from hostedagent.cli.startup import Clock, StartError, stay_unready

if TYPE_CHECKING:
    from hostedagent.host import AgentHost
    from hostedagent.stores.factory import Stores

FILE_STORE: Final = ".hostedagent"
"""The folder, below the current one, of `--store file`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`."""
    parser.add_argument(
        "target",
        metavar="MODULE_OR_FILE[:NAME]",
        nargs="?",
        help=f"what to serve (default: {USUAL_NAMES}, the first that is there)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to bind (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_number, help=f"0 to 65535; 0 for any free one (default: $PORT, else {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--store",
        choices=("memory", "file", "foundry"),
        help=f"where responses and state are kept; file: in ./{FILE_STORE} (default: foundry if hosted, else memory)",
    )
    parser.add_argument("--env-file", metavar="FILE", help="set variables from a file; those that are set stay")
    parser.add_argument("--reload", action="store_true", help="start again when a Python file changes")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl+C or SIGTERM."""
    clock = Clock()
    port = 0
    try:
        target = _parsed(arguments.target)
        if not arguments.reload:
            _say(f"Loading {target.place} ...")
        with clock.step("environment"):
            added = _read_env_file(arguments.env_file)
        with clock.step("port"):
            port = _port(arguments)
        if arguments.reload:
            from hostedagent.cli.reload import run_again

            for name in added:  # Each server reads the file as it is then.
                del os.environ[name]
            return run_again(arguments, target, port)
        host = _host(target, arguments.store, clock)
        _serve(host, arguments.host, port, clock)
    except StartError as error:
        _fail(error)
        if os.environ.get("FOUNDRY_HOSTING_ENVIRONMENT") and error.step != "port":
            with suppress(PortError):
                stay_unready(arguments.host, port or wanted_port(arguments.port), error.step)
        return error.code
    return 0


def _parsed(text: str | None) -> Target:
    text = usual(Path.cwd()) if text is None else text
    if text is None:
        wanted = "Say what to serve: hostedagent run MODULE_OR_FILE[:NAME]"
        raise StartError("agent", f"There is no {USUAL_NAMES} in this folder. {wanted}", code=2)
    try:
        return Target.parse(text)
    except TargetError as error:
        raise StartError("agent", str(error), code=2) from error


def _read_env_file(path: str | None) -> list[str]:
    """Set what is not set yet, and say which variables these are."""
    if path is None:
        return []
    from dotenv import dotenv_values

    if not Path(path).is_file():
        raise StartError("environment", f"The file {path} of --env-file does not exist.", code=2)
    found = {name: value for name, value in dotenv_values(path).items() if value is not None}
    added = [name for name in found if name not in os.environ]
    for name in added:
        os.environ[name] = found[name]
    _say(f"Read {len(found)} variables from {path}.")
    return added


def _port(arguments: argparse.Namespace) -> int:
    try:
        return free_port(arguments.host, wanted_port(arguments.port))
    except PortError as error:
        raise StartError("port", str(error), code=error.code) from error


def _host(target: Target, store: str | None, clock: Clock) -> AgentHost:
    with clock.step("packages"):
        import_module("hostedagent.host")
    with clock.step("agent"):
        try:
            return as_host(load(target), target, stores=_stores(store))
        except TargetError as error:
            raise StartError("agent", str(error), code=2) from error
        except UserCodeError as error:
            raised = f"{error.target} raised while it was loaded:\n\n{error.traceback().rstrip()}"
            raise StartError("agent", raised) from error


def _stores(kind: str | None) -> Callable[[], Stores] | None:
    from hostedagent.stores.factory import file_stores, foundry_stores, memory_stores

    match kind:
        case "memory":
            return memory_stores
        case "file":
            return lambda: file_stores(FILE_STORE)
        case "foundry":
            return foundry_stores
        case _:
            return None


def _serve(host: AgentHost, address: str, port: int, clock: Clock) -> None:
    url = f"http://{_shown(address)}:{port}"

    def ready() -> None:
        clock.end("server")
        _say(f"Ready at {url}/responses after {clock}. Stop with Ctrl+C.")

    try:
        host.run(host=address, port=port, on_listening=ready)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StartError("port", in_use(address, port)) from error


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(error: StartError) -> None:
    print(f"hostedagent: {error.message}", file=sys.stderr, flush=True)
