"""Resolves `MODULE_OR_FILE[:NAME]` to one agent, factory, workflow or host of the user's.

With `NAME`, the object of that name is served. Without it, the module's only candidate is served: its `AgentHost`, else
its agent, its factory or its workflow instance (which the host then refuses). Among several, the one named `agent`,
`host` or `app` is served. Workflow instances are ignored if there is a factory, but not if there is an agent, because
the agent may be a helper of the workflow.

If a module calls `AgentHost(agent).run()` without a `__main__` guard, that call does not serve: the host is served by
the command, at the address of the command line.

A factory is a public function defined in the module itself that takes no argument or one `TurnRequest` (annotated so,
or named `request` or `turn`). Its return annotation ends in `Agent`, `SupportsAgentRun`, `Workflow` or
`WorkflowBuilder`; without an annotation, its name must be like `create_agent`, `build_review_workflow` or
`agent_factory`.

Without a target, the first of the usual files in the folder is served.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from hostedagent.host import AgentHost
    from hostedagent.stores.factory import Stores

USUAL: Final = ("main.py", "agent.py", "app.py")
"""The usual files, in their order: what `run` serves and `doctor` looks at."""

PREFERRED: Final = ("agent", "host", "app")
"""The names that are served where a module has several candidates, in their order."""

USUAL_NAMES: Final = f"{', '.join(USUAL[:-1])} or {USUAL[-1]}"

Kind: TypeAlias = Literal["host", "agent", "factory", "workflow"]

_MODULE_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MADE: Final = re.compile(
    r"(?:[\w.]*\b(?:Awaitable|Coroutine)\[(?:[\w.]+,\s*[\w.]+,\s*)?)?"
    r"[\w.]*(?:Agent|SupportsAgentRun|Workflow|WorkflowBuilder)(?:\[.*\])?\]?"
)
_FACTORY_NAME: Final = re.compile(r"(create|make|build|get|new)_(\w+_)?(agent|workflow)|(agent|workflow)_factory")


class TargetError(Exception):
    """The target is malformed, or names something that does not exist; the message is one line for the user."""


class UserCodeError(Exception):
    """The user's module raised while it was imported."""

    def __init__(self, target: str, error: Exception) -> None:
        super().__init__(target)
        self.target = target
        self.error = error


@dataclass(frozen=True, slots=True)
class Target:
    """A file or a dotted module name, and the name of an object in it if the user gave one."""

    place: str
    name: str | None
    is_file: bool

    @property
    def text(self) -> str:
        """The text that `parse` reads as this target."""
        return self.place if self.name is None else f"{self.place}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse `MODULE_OR_FILE[:NAME]`."""
        place, colon, name = text.rpartition(":")
        if not colon or not _MODULE_NAME.fullmatch(name):  # The colon may be a drive's: C:\agent.py
            place, name = text, ""
        is_file = place.endswith(".py") or "/" in place or "\\" in place
        if not is_file and not _MODULE_NAME.fullmatch(place):
            raise TargetError(f"{text!r} is neither a path to a Python file nor a module's name.")
        return cls(place, name or None, is_file)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object of the module that can be served."""

    name: str
    kind: Kind
    value: object


def usual(folder: Path) -> str | None:
    """The first of the usual files that a folder has."""
    return next((name for name in USUAL if (folder / name).is_file()), None)


def load(target: Target) -> object:
    """Import the target and return the object to serve.

    Raises:
        TargetError: No such file, module or name; nothing to serve, or more than one thing.
        UserCodeError: The module raised.
    """
    from hostedagent.host import captured_runs

    with captured_runs() as started:
        module = load_module(target)
    if target.name is not None:
        return _named(module, target)
    return started[-1] if started else choose(module, target.place).value


def load_module(target: Target) -> ModuleType:
    """Import the target's module, with the current directory and the file's folder importable."""
    _make_importable(Path.cwd())
    return _load_file(target.place) if target.is_file else _load_dotted(target.place)


def candidates(module: ModuleType) -> Iterator[Candidate]:
    """The candidates of the module, in order; an object with two names counts once."""
    seen: set[int] = set()
    for name, value in vars(module).items():
        kind = None if name.startswith("_") else kind_of(name, value, module.__name__)
        if kind is not None and id(value) not in seen:
            seen.add(id(value))
            yield Candidate(name, kind, value)


def choose(module: ModuleType, place: str) -> Candidate:
    """Select the candidate to serve."""
    found = list(candidates(module))
    kinds = {row.kind for row in found}
    if "host" in kinds:
        found = [row for row in found if row.kind == "host"]
    elif "factory" in kinds:
        found = [row for row in found if row.kind != "workflow"]
    if len(found) > 1 and all(row.kind != "workflow" for row in found):
        found = next(([row] for name in PREFERRED for row in found if row.name == name), found)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{row.name} ({row.kind})" for row in found)
        one = next((row for row in found if row.kind != "workflow"), found[0])
        raise TargetError(f"{place} has more than one to serve: {names}. Name one: {place}:{one.name}")
    why = next(_almost(module), "no agent, no AgentHost, and no function such as create_agent() that makes one.")
    raise TargetError(f"{place} has nothing to serve: {why}")


def _almost(module: ModuleType) -> Iterator[str]:
    """Why the functions that seem to create agents are not factories."""
    for name, value in vars(module).items():
        if name.startswith("_") or not _is_own_function(value, module.__name__):
            continue
        signature = inspect.signature(value)
        if (required := _required(signature)) and _makes(name, signature):
            wrong = "too many arguments" if len(required) > 1 else "an argument that the host does not have"
            names = ", ".join(row.name for row in required)
            yield f"{name}({names}) takes {wrong}. A factory takes none, or one TurnRequest."


def kind_of(name: str, value: object, module: str) -> Kind | None:
    """The kind of a value of a module; `None` if it cannot be served."""
    from agent_framework import SupportsAgentRun

    from hostedagent.agents.source import is_definition, is_workflow
    from hostedagent.host import AgentHost

    if inspect.isfunction(value):
        return "factory" if _is_own_function(value, module) and is_factory(name, value) else None
    if inspect.isclass(value) or inspect.ismodule(value):
        return None
    if is_definition(value):
        return "agent"
    if is_workflow(value):
        return "workflow"
    if isinstance(value, AgentHost):
        return "host"
    return "agent" if isinstance(value, SupportsAgentRun) else None


def is_factory(name: str, function: Callable[..., object]) -> bool:
    """Whether a function is a factory, by the rule in this module's docstring."""
    signature = inspect.signature(function)
    match _required(signature):
        case []:
            fits = True
        case [only]:
            fits = only.kind is not only.KEYWORD_ONLY and _takes_request(only)
        case _:
            fits = False
    return fits and _makes(name, signature)


def as_host(
    value: object,
    target: Target,
    *,
    stores: Callable[[], Stores] | None = None,
    prefix: str | None = None,
    cors: Sequence[str] = (),
    is_replica: bool = False,
) -> AgentHost:
    """Create the host for an object; an `AgentHost` is returned unchanged.

    Args:
        is_replica: Whether it is one of several processes that take over each other's background turns.

    Raises:
        TargetError: It cannot be served; the message gives the host's reason.
    """
    from hostedagent.errors import ConfigurationError
    from hostedagent.host import AgentHost
    from hostedagent.options import HostOptions

    if isinstance(value, AgentHost):
        for option, given in (("--store", stores), ("--prefix", prefix), ("--cors", cors or None)):
            if given is not None:
                raise TargetError(f"{target.place} creates its own AgentHost, which decides this: omit {option}.")
        return value
    path = f"/{prefix.strip('/')}" if prefix and prefix.strip("/") else ""
    try:
        chosen = stores() if stores is not None else None
        options = HostOptions(cors=frozenset(cors), resilient_background=is_replica and chosen is not None)
        driver = "starlette" if is_replica else "agentserver"
        return AgentHost(cast("Any", value), options=options, stores=chosen, prefix=path, driver=driver)
    except ConfigurationError as error:
        raise TargetError(f"{target.place} cannot be served: {error}") from error


def _is_own_function(value: object, module: str) -> bool:
    return inspect.isfunction(value) and value.__module__ == module


def _required(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [
        row
        for row in signature.parameters.values()
        if row.default is row.empty and row.kind not in (row.VAR_POSITIONAL, row.VAR_KEYWORD)
    ]


def _makes(name: str, signature: inspect.Signature) -> bool:
    made = signature.return_annotation
    if made is signature.empty:
        return bool(_FACTORY_NAME.fullmatch(name))
    return _MADE.fullmatch(made.__name__ if inspect.isclass(made) else str(made)) is not None


def _takes_request(parameter: inspect.Parameter) -> bool:
    if parameter.annotation is not parameter.empty:
        made = parameter.annotation
        return (made.__name__ if inspect.isclass(made) else str(made)).rpartition(".")[2] == "TurnRequest"
    return parameter.name in ("request", "turn")


def _named(module: ModuleType, target: Target) -> object:
    value: object = module
    for part in (target.name or "").split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            there = ", ".join(row.name for row in candidates(module)) or "none"
            raise TargetError(f"{target.place} has no {target.name!r}. What it has to serve: {there}.") from None
    return value


def _load_file(place: str) -> ModuleType:
    path = Path(place).resolve()
    if not path.is_file():
        what = "is a folder, not a Python file" if path.is_dir() else "does not exist"
        raise TargetError(f"{place} {what}.")
    _make_importable(path.parent)
    # Registered under its own name, so that other files of the folder import the same module.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_file"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{place} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserCodeError(place, error) from error
    return module


def _load_dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            if Path(name).is_file():
                raise TargetError(f"{name} is not a Python file.") from None
            raise TargetError(f"There is no module {error.name!r} in this directory or installed.") from None
        raise UserCodeError(name, error) from error
    except Exception as error:
        raise UserCodeError(name, error) from error


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
