"""`hostedagent run`: serves an agent, a workflow or a host from a file or a module."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hostedagent.cli import failures
from hostedagent.cli.failures import rendered
from hostedagent.cli.group import fail, wants_color
from hostedagent.cli.loader import USUAL_NAMES, Target, TargetError, UserCodeError, as_host, load, usual
from hostedagent.cli.port import DEFAULT_PORT, PortError, free_port, in_use, port_number, wanted_port
from hostedagent.cli.startup import Clock, StartError, startup_errors, stay_unready
from hostedagent.cli.stores import POSTGRES_FOLDER, SQLITE_FILE, embedded_dsn, stores_maker
from hostedagent.cli.workers import Worker, check_workers, serve_with_workers
from hostedagent.platform import DSN_VARIABLE, is_hosted

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from hostedagent.host import AgentHost

ENV_FILE: Final = ".env"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `run`, as its help describes them; `None` for what was not given."""

    target: str | None
    host: str | None
    port: int | None
    store: str | None
    prefix: str | None
    env_file: str | None
    log_level: str | None
    quiet: bool
    reload: bool
    cors: tuple[str, ...] = ()
    dsn: str | None = None
    page: bool = True
    page_token: str | None = None
    workers: int | None = None

    def arguments(self, target: Target, port: int) -> list[str]:
        """The command line of one server of `--reload` or `--workers`."""
        values = {
            "--host": self.address,
            "--port": str(port),
            "--store": self.store,
            "--prefix": self.prefix,
            "--env-file": self.env_file,
            "--log-level": self.log_level,
            "--page-token": self.page_token,
        }
        flags = {"--quiet": self.quiet, "--no-page": not self.page}
        return [
            "run",
            target.text,
            *(word for name, value in values.items() if value is not None for word in (name, value)),
            *(word for origin in self.cors for word in ("--cors", origin)),
            *(name for name, is_set in flags.items() if is_set),
        ]

    @property
    def address(self) -> str:
        """The address to bind."""
        return self.host or ("0.0.0.0" if is_hosted() else "127.0.0.1")

    def say(self, line: str) -> None:
        """Print a line, unless the user wants it quiet."""
        if not self.quiet:
            click.echo(line, color=wants_color())
            sys.stdout.flush()


@click.command(
    help=f"""Serve an agent or a workflow over the Responses protocol.

    MODULE_OR_FILE is a path to a Python file or a dotted module name. Without it, the command serves {USUAL_NAMES},
    the first that exists. Of a folder it serves that file too or, where there is none, every agent in the folder. NAME
    is an agent, an AgentHost, or a function that creates an agent or a workflow; it can be omitted
    where the module has only one."""
)
@click.argument("target", metavar="[MODULE_OR_FILE[:NAME]]", required=False)
@click.option("--host", help="The address to bind.  [default: 127.0.0.1; 0.0.0.0 if hosted]")
@click.option(
    "--port",
    type=port_number,
    metavar="PORT",
    help=f"0 to 65535; 0 for any free port.  [default: $PORT, else {DEFAULT_PORT}]",
)
@click.option(
    "--store",
    type=click.Choice(["memory", "sqlite", "postgres", "foundry"]),
    help=f"Where responses and state are kept; sqlite: ./{SQLITE_FILE}.  [default: foundry if hosted, else memory]",
)
@click.option(
    "--dsn",
    help=f"The database of --store postgres.  [default: ${DSN_VARIABLE}, else one is started in ./{POSTGRES_FOLDER}]",
)
@click.option("--prefix", metavar="PATH", help="Serve below a path, for example /agents/writer.")
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of an origin call the host, for example http://localhost:3000; * for all. Can be repeated.",
)
@click.option(
    "--env-file",
    metavar="FILE",
    help="Set variables from a file; variables that are set already win.  [default: .env, unless hosted]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least level of log lines.  [default: $LOG_LEVEL, else info]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
@click.option("--reload", is_flag=True, help="Restart when a Python file changes.")
@click.option("--page/--no-page", default=True, help="Serve the local page at /. Never when hosted.  [default: page]")
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Serve with N processes, which share the port and --store postgres. Uses the package's own routes, and "
    "serves no page.",
)
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
    worker = Worker.here()
    try:
        if options.workers is not None:
            check_workers(options.workers, options.store, reload=options.reload)
        target = _parsed(options.target)
        if not options.reload and worker is None:
            options.say(f"Loading {target.place} ...")
        with clock.step("environment"):
            added = _read_env_file(options) if worker is None else []
        if (level := options.log_level or ("warning" if options.quiet else None)) is not None:
            os.environ["LOG_LEVEL"] = level.upper()
        if options.dsn is not None:  # Also for `--reload`: a command line is no place for passwords.
            os.environ[DSN_VARIABLE] = options.dsn
        with clock.step("port"):
            port = _port(options) if worker is None else options.port or 0
        if options.reload:
            from hostedagent.cli.reload import run_again

            for name in added:  # Each server reads the file as it is then.
                del os.environ[name]
            return run_again(options.arguments(target, port), target)
        if options.workers is not None:
            return _serve_with_workers(options, options.workers, target, port, clock)
        _serve_target(target, options, port, clock, worker)
    except StartError as error:
        fail(error.message)
        if is_hosted() and error.step != "port":
            with suppress(PortError):
                stay_unready(options.address, port or wanted_port(options.port), error.step)
        return error.code
    return 0


def _parsed(text: str | None) -> Target:
    text = usual(Path.cwd()) if text is None else text
    if text is None:
        wanted = "Name what to serve: hostedagent run MODULE_OR_FILE[:NAME]"
        raise StartError("agent", f"There is no {USUAL_NAMES} in this folder. {wanted}", code=2)
    folder = Path(text)
    if folder.is_dir():
        name = usual(folder)
        return Target(text if name is None else str(folder / name), None, is_file=True)
    try:
        return Target.parse(text)
    except TargetError as error:
        raise StartError("agent", str(error), code=2) from error


def _read_env_file(options: RunOptions) -> list[str]:
    """Set the variables that are not set yet; returns their names."""
    path = options.env_file
    if path is None:
        if is_hosted() or not Path(ENV_FILE).is_file():
            return []
        path = ENV_FILE
    from dotenv import dotenv_values

    if not Path(path).is_file():
        raise StartError("environment", f"The file {path} of --env-file does not exist.", code=2)
    found = {name: value for name, value in dotenv_values(path).items() if value is not None}
    added = [name for name in found if name not in os.environ]
    for name in added:
        os.environ[name] = found[name]
    kept = f" Set already, and kept: {', '.join(sorted(set(found) - set(added)))}." if len(found) > len(added) else ""
    noun = "variable" if len(found) == 1 else "variables"
    options.say(f"Read {len(found)} {noun} from {path}.{kept}")
    return added


def _port(options: RunOptions) -> int:
    try:
        return free_port(options.address, wanted_port(options.port))
    except PortError as error:
        raise StartError("port", str(error), code=error.code) from error


def _serve_with_workers(options: RunOptions, count: int, target: Target, port: int, clock: Clock) -> int:
    from hostedagent.server.serve import listening

    if Path(target.place).is_dir():
        raise StartError("agent", f"--workers is for one agent, not for the folder {target.place}.", code=2)
    with clock.step("environment"):
        if options.store == "postgres" and not os.environ.get(DSN_VARIABLE):
            os.environ[DSN_VARIABLE] = embedded_dsn()
    url = f"http://{_shown(options.address)}:{port}"

    def ready() -> None:
        clock.end("server")
        _say_ready(options, f"{url} with {count} workers", clock)

    with listening(options.address, port) as listener:
        return serve_with_workers(listener, replace(options, page=False).arguments(target, port), count, ready)


def _say_ready(options: RunOptions, where: str, clock: Clock) -> None:
    options.say(f"Ready at {where}. Stop with Ctrl+C.\nStarted in {clock}.")


def _host(target: Target, options: RunOptions, clock: Clock, worker: Worker | None) -> tuple[AgentHost, str]:
    """The host, and what its stores are called."""
    with clock.step("packages"):
        import_module("hostedagent.host")
    with clock.step("agent"), _agent_errors():
        loaded = load(target)
        host = as_host(
            loaded,
            target,
            stores=stores_maker(options.store),
            prefix=options.prefix,
            cors=options.cors,
            is_replica=worker is not None,
        )
        if worker is not None and not host.stores.are_shared:
            raise TargetError("--workers needs --store postgres: one process owns the stores of this host.")
        return host, "its own" if host is loaded else options.store or ("foundry" if is_hosted() else "memory")


@contextmanager
def _agent_errors() -> Generator[None]:
    try:
        yield
    except TargetError as error:
        raise StartError("agent", str(error), code=2) from error
    except UserCodeError as error:
        raised = f"{error.target} raised while it was loaded:\n\n{rendered(error.error)}"
        raise StartError("agent", raised) from error


def _serve_target(target: Target, options: RunOptions, port: int, clock: Clock, worker: Worker | None) -> None:
    if Path(target.place).is_dir():
        _serve_folder(Path(target.place), options, port, clock)
    else:
        host, store = _host(target, options, clock, worker)
        _serve(host, replace(options, store=store), target, port, clock, worker)


def _serve_folder(folder: Path, options: RunOptions, port: int, clock: Clock) -> None:
    from hostedagent.cli.folder import as_group
    from hostedagent.cli.page import page_url

    if options.prefix is not None:
        raise StartError("agent", f"--prefix is for one agent, not for the folder {folder}.", code=2)
    with clock.step("packages"):
        import_module("hostedagent.host.group")
    with clock.step("agent"), _agent_errors():
        group = as_group(folder, options.say, cors=frozenset(options.cors), store=options.store)
    url = f"http://{_shown(options.address)}:{port}"
    page_of = partial(
        page_url, url=url, address=options.address, store=options.store or "memory", token=options.page_token
    )
    pages = {name: page_of(host, name=name, hosts=group.hosts) for name, host in group.hosts.items() if options.page}
    if not is_hosted():
        _watch(group.app, options)

    def ready() -> None:
        clock.end("server")
        _say_ready(options, f"{url}/responses", clock)
        for name, host in group.hosts.items():
            page = pages.get(name)
            options.say(f"{name}: {url}{host.prefix}/responses" + (f", page {page}" if page else ""))

    with startup_errors(str(folder)):
        group.run(host=options.address, port=port, on_listening=ready)


def _serve(
    host: AgentHost, options: RunOptions, target: Target, port: int, clock: Clock, worker: Worker | None
) -> None:
    address = options.address
    url = f"http://{_shown(address)}:{port}"
    page = _page(host, options, target, url) if options.page else None
    if not is_hosted():
        _watch(host.app, options)

    def ready() -> None:
        clock.end("server")
        if worker is not None:
            worker.ready()
            return
        _say_ready(options, f"{url}{host.prefix}/responses", clock)
        options.say(_served(host, options, target))
        if page is not None:
            options.say(f"Chat with it at {page}")
        options.say(f"Or in another terminal: {_chat_command(url, host.prefix)}")

    try:
        listener = worker.listener if worker is not None else None
        with startup_errors(target.place):
            host.run(host=address, port=port, on_listening=ready, listener=listener)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StartError("port", in_use(address, port)) from error


def _page(host: AgentHost, options: RunOptions, target: Target, url: str) -> str | None:
    from hostedagent.cli.page import page_url

    store, name = options.store or "", _agent_name(host, target)
    return page_url(host, url=url, address=options.address, name=name, store=store, token=options.page_token)


def _watch(app: Starlette, options: RunOptions) -> None:
    """Show the developer what happens: one line for each request, and the text of errors."""
    from hostedagent.cli.request_lines import RequestLines
    from hostedagent.observability.logging import FAILURE_OBSERVERS

    FAILURE_OBSERVERS.append(failures.show)
    failures.show_tool_failures()
    if not options.quiet:
        app.add_middleware(RequestLines, show=options.say)
        for name in ("azure.ai.agentserver", "hostedagent.server.exchange"):
            logging.getLogger(name).addFilter(lambda record: not str(record.msg).startswith("Inbound "))


def _served(host: AgentHost, options: RunOptions, target: Target) -> str:
    from hostedagent.agents.run import model_name

    model = model_name(host.agent) or "as the agent chooses"
    return f"Agent: {_agent_name(host, target)}. Model: {model}. Store: {options.store}."


def _agent_name(host: AgentHost, target: Target) -> str:
    return getattr(host.agent, "name", None) or target.name or target.place.rpartition("/")[2].removesuffix(".py")


def _chat_command(url: str, prefix: str) -> str:
    runner = "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""  # Set by `uv run`.
    is_default = (url, prefix) == (f"http://127.0.0.1:{DEFAULT_PORT}", "")
    return f"{runner}hostedagent chat" + ("" if is_default else f" --url {url}{prefix}")


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host
