"""`hostedagent run`: serves an agent, a workflow or a host from a file or a module."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hostedagent.cli.group import fail
from hostedagent.cli.loader import USUAL_NAMES, Target, TargetError, UserCodeError, as_host, load, usual
from hostedagent.cli.port import DEFAULT_PORT, PortError, free_port, in_use, port_number, wanted_port
from hostedagent.cli.startup import Clock, StartError, stay_unready
from hostedagent.platform import is_hosted

if TYPE_CHECKING:
    from hostedagent.host import AgentHost
    from hostedagent.stores.factory import Stores

FILE_STORE: Final = ".hostedagent"
"""The folder, below the current one, of `--store file`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `run`.

    Args:
        target: `MODULE_OR_FILE[:NAME]`; `None` for the first of the usual files.
        host: The address to bind.
        port: The port; `None` for `PORT`, else 8088.
        store: The kind of stores; `None` for the default.
        env_file: A file of variables.
        reload: Whether to restart when a Python file changes.
        page: Whether the local page is served.
        page_token: Required to open the page; `None` for none.
    """

    target: str | None
    host: str
    port: int | None
    store: str | None
    env_file: str | None
    reload: bool
    page: bool = True
    page_token: str | None = None

    def arguments(self, target: Target, port: int) -> list[str]:
        """The command line of one server of `--reload`."""
        given = ["run", target.text, "--host", self.host, "--port", str(port)]
        for name, value in (("--store", self.store), ("--env-file", self.env_file), ("--page-token", self.page_token)):
            given += [name, value] if value is not None else []
        return given if self.page else [*given, "--no-page"]


@click.command(
    help=f"""Serve an agent or a workflow over the Responses protocol.

    MODULE_OR_FILE is a path to a Python file or a dotted module name. Without it, the command serves {USUAL_NAMES},
    the first that exists. NAME is an agent, an AgentHost, or a function that creates an agent or a workflow; it can be
    omitted where the module has only one."""
)
@click.argument("target", metavar="[MODULE_OR_FILE[:NAME]]", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to bind.")
@click.option(
    "--port",
    type=port_number,
    metavar="PORT",
    help=f"0 to 65535; 0 for any free port.  [default: $PORT, else {DEFAULT_PORT}]",
)
@click.option(
    "--store",
    type=click.Choice(["memory", "file", "foundry"]),
    help=f"Where responses and state are stored; file: in ./{FILE_STORE}.  [default: foundry if hosted, else memory]",
)
@click.option("--env-file", metavar="FILE", help="Set variables from a file; variables that are set already win.")
@click.option("--reload", is_flag=True, help="Restart when a Python file changes.")
@click.option("--page/--no-page", default=True, help="Serve the local page at /. Never when hosted.  [default: page]")
@click.option(
    "--page-token",
    metavar="TOKEN",
    envvar="HOSTEDAGENT_PAGE_TOKEN",
    help="Required to open the page; without it, only a loopback --host serves the page.",
)
def command(**options: Any) -> int:
    """Serve until Ctrl+C or SIGTERM."""
    return serve(RunOptions(**options))


def serve(options: RunOptions) -> int:
    """Serve until Ctrl+C or SIGTERM; returns the exit code."""
    clock = Clock()
    port = 0
    try:
        target = _parsed(options.target)
        if not options.reload:
            _say(f"Loading {target.place} ...")
        with clock.step("environment"):
            added = _read_env_file(options.env_file)
        with clock.step("port"):
            port = _port(options)
        if options.reload:
            from hostedagent.cli.reload import run_again

            for name in added:  # Each server reads the file as it is then.
                del os.environ[name]
            return run_again(options.arguments(target, port), target)
        host = _host(target, options.store, clock)
        _serve(host, options, target, port, clock)
    except StartError as error:
        fail(error.message)
        if is_hosted() and error.step != "port":
            with suppress(PortError):
                stay_unready(options.host, port or wanted_port(options.port), error.step)
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


def _port(options: RunOptions) -> int:
    try:
        return free_port(options.host, wanted_port(options.port))
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


def _serve(host: AgentHost, options: RunOptions, target: Target, port: int, clock: Clock) -> None:
    address = options.host
    url = f"http://{_shown(address)}:{port}"
    page = _page(host, options, target, url) if options.page else None

    def ready() -> None:
        clock.end("server")
        _say(f"Ready at {url}{host.prefix}/responses after {clock}. Stop with Ctrl+C.")
        if page is not None:
            _say(f"Chat with it at {page}")

    try:
        host.run(host=address, port=port, on_listening=ready)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StartError("port", in_use(address, port)) from error


def _page(host: AgentHost, options: RunOptions, target: Target, url: str) -> str | None:
    from hostedagent.cli.page import page_url

    store = options.store or ("foundry" if os.environ.get("FOUNDRY_HOSTING_ENVIRONMENT") else "memory")
    name = target.place.rpartition("/")[2].removesuffix(".py")
    return page_url(host, url=url, address=options.host, name=name, store=store, token=options.page_token)


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _say(line: str) -> None:
    print(line, flush=True)
