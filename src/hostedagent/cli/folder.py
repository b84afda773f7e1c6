"""`hostedagent run FOLDER`: finds the agents of a folder and serves them as a group.

Each subfolder with one of the usual files is an agent with the folder's name, and each Python file is one with the
file's name. Files without an agent, with an `AgentHost` of their own, or whose name no path can have, are skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostedagent.cli.loader import Target, TargetError, UserCodeError, load, usual
from hostedagent.cli.stores import stores_maker
from hostedagent.platform import is_hosted

if TYPE_CHECKING:
    from hostedagent.host.group import AgentGroup


def as_group(folder: Path, say: Callable[[str], None], *, cors: frozenset[str], store: str | None) -> AgentGroup:
    """The agents of a folder, as one application.

    Args:
        say: Prints which files are skipped, and why.
        store: The kind of stores; each agent has its own.

    Raises:
        TargetError: It has no agent, or one cannot be served.
        UserCodeError: A file raised in a hosted process; otherwise the file is skipped.
    """
    from hostedagent.errors import ConfigurationError
    from hostedagent.host.group import AgentGroup
    from hostedagent.options import HostOptions

    agents: dict[str, Any] = {}
    for name, file in _files(folder):
        try:
            agent = load(Target(str(file), None, is_file=True))
        except TargetError as error:
            say(f"Skipped: {error}")
            continue
        except UserCodeError as error:
            if is_hosted():  # A hosted process must serve every agent of its image.
                raise
            say(f"Skipped: {file} raised {type(error.error).__name__}: {error.error}")
            continue
        finally:
            _forget_modules(file.parent, but_of=folder)
        if (reason := _refusal(name, agent, agents)) is None:
            agents[name] = agent
        elif is_hosted():
            raise TargetError(f"{file} cannot be served: {reason}")
        else:
            say(f"Skipped: {file}: {reason}")
    if not agents:
        raise TargetError(f"{folder} has no agent: neither a Python file nor a folder below it has one to serve.")
    try:
        made = {name: maker() for name in agents if (maker := stores_maker(store, name)) is not None}
        return AgentGroup(agents, options=HostOptions(cors=cors), stores=made.__getitem__ if made else None)
    except ConfigurationError as error:
        raise TargetError(f"{folder} cannot be served: {error}") from error


def _refusal(name: str, agent: Any, others: Container[str]) -> str | None:
    """Why an agent cannot be one of the group; `None` if it can."""
    from hostedagent.errors import ConfigurationError
    from hostedagent.host import AgentHost
    from hostedagent.host.group import check_name

    if isinstance(agent, AgentHost):
        return "It creates its own AgentHost; serve it by itself."
    if name in others:
        return f"Another agent has the name {name!r}; rename one of them."
    try:
        check_name(name)
    except ConfigurationError as error:
        return f"{error} Rename it."
    return None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            if (name := usual(path)) is not None:
                yield path.name, path / name
        elif path.suffix == ".py" and not path.name.startswith(("test_", "conftest")):
            yield path.stem, path


def _forget_modules(folder: Path, *, but_of: Path) -> None:
    """Make the next agent import its own `tools.py`, not that of the agent before."""
    folder = folder.resolve()
    if folder == but_of.resolve():
        return
    for name, module in list(sys.modules.items()):
        if (file := getattr(module, "__file__", None)) and folder in Path(file).resolve().parents:
            del sys.modules[name]
    # Imports during a turn must still be found.
    sys.path.sort(key=lambda path: path == str(folder))
