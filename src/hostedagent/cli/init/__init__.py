"""`hostedagent init`: creates a project that runs at once and deploys with `azd up`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from hostedagent.cli.group import CommandError, CommandLineError
from hostedagent.templates import (
    DEFAULT_MODEL,
    DEPLOYMENTS,
    FEATURES,
    PROTOCOLS,
    PROVIDERS,
    Choices,
    Deployment,
    Feature,
    Protocol,
    Provider,
)

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class WrongChoice(CommandLineError):
    """A name, a model or a feature that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """The options of `init`; `None` for what was not given."""

    folder: str
    name: str | None
    provider: Provider | None
    model: str | None
    features: str | None
    protocol: tuple[Protocol, ...]
    deploy: Deployment | None
    add: bool
    only: str | None
    yes: bool


@click.command()
@click.argument("folder", metavar="[DIR]", default=".")
@click.option("--name", help="The agent's name.  [default: made from the folder's]")
@click.option(
    "--provider",
    type=click.Choice(list(PROVIDERS)),
    help="Whose model: " + "; ".join(f"{name}: {what}" for name, what in PROVIDERS.items()) + ".  [default: foundry]",
)
@click.option("--model", help=f"The model, and the name of its deployment.  [default: {DEFAULT_MODEL}]")
@click.option(
    "--features",
    metavar="LIST",
    help="Separated by commas, or none. "
    + "; ".join(f"{name}: {what}" for name, what in FEATURES.items())
    + ".  [default: tools]",
)
@click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    multiple=True,
    help="Served besides Responses: " + "; ".join(f"{name}: {what}" for name, what in PROTOCOLS.items()) + ".",
)
@click.option(
    "--deploy",
    type=click.Choice(list(DEPLOYMENTS)),
    help="How: " + "; ".join(f"{name}: {what}" for name, what in DEPLOYMENTS.items()) + ".  [default: container]",
)
@click.option("--add", is_flag=True, help="Write only the files that do not exist yet.")
@click.option(
    "--only", metavar="LIST", help="Write only these files and folders, separated by commas, and nothing that exists."
)
@click.option("--yes", is_flag=True, help="Ask nothing; take the default of what is not given.")
def command(**options: Any) -> int:
    """Create a project that runs here at once, without a model or a network, and deploys with `azd up`.

    DIR is its folder, by default the current one. Nothing that exists is overwritten: if one of the files exists,
    nothing is written at all, unless --add or --only is given.
    """
    return create(InitOptions(**options))


def create(options: InitOptions) -> int:
    """Write the project; 1 when a file is in the way or the lock cannot be made, 2 when a choice is invalid."""
    from hostedagent.cli.init.uv import WHEELS, bring_wheel, installed_from, make_lock
    from hostedagent.templates import LOCK, render

    folder = Path(options.folder)
    origin = installed_from()
    try:
        files = render(replace(choose(options, folder), brings_wheel=origin is not None))
    except FileNotFoundError as error:
        raise CommandError(str(error)) from error
    later = [LOCK, WHEELS]
    if options.only is not None:
        files, later = _only(options.only.split(","), files, later)
    adds = options.add or options.only is not None
    new = missing(folder, files) if adds else files
    reserved = [name for name in later if not (adds and (folder / name).exists())]
    try:
        write(folder, new, reserved=reserved)
    except OSError as error:
        raise CommandError(f"{error.filename or folder} could not be written: {error.strerror or error}.") from error
    print(f"Wrote {len(new)} files to {folder}.", flush=True)
    if kept := sorted(files.keys() - new.keys()):
        print(f"Kept as they are: {', '.join(kept)}.", flush=True)
    if origin is not None and WHEELS in reserved:
        print(bring_wheel(origin, folder), flush=True)
    enter = f"cd {shlex.quote(str(folder))} && " if folder.resolve() != Path.cwd() else ""
    try:
        if LOCK in reserved:
            print(make_lock(folder), flush=True)
    except CommandError:
        print(f"\nNext:  {enter}{_runs(has_wheel=origin is not None)}", flush=True)
        raise
    print(f"\nNext:  {enter}{_runs(has_wheel=origin is not None)}\n       azd up")
    return 0


def _only(names: Sequence[str], files: Mapping[str, str], later: list[str]) -> tuple[dict[str, str], list[str]]:
    """Those that are named, or in a folder that is named.

    Args:
        later: Files and folders that are made once the files are written.
    """
    if unknown := {*names} - {*later} - {name.partition("/")[0] for name in files}:
        raise WrongChoice(f"A project has no {min(unknown)!r}.")
    chosen = {name: text for name, text in files.items() if name.partition("/")[0] in names}
    return chosen, [name for name in later if name in names]


def _runs(*, has_wheel: bool) -> str:
    """The commands that serve and test a new project."""
    from hostedagent.cli.init.uv import find_uv

    if find_uv() is None:
        return f"pip install {'--find-links wheels ' if has_wheel else ''}-e . && hostedagent run"
    return "uv run hostedagent run\n       uv run pytest"


def choose(options: InitOptions, folder: Path) -> Choices:
    """The user's choices: from flags, defaults, or prompts."""
    said = {"name": options.name, "model": options.model, "features": options.features}
    if options.provider == "offline" and options.model is None:
        said["model"] = DEFAULT_MODEL
    missing = [f"--{key}" for key, value in said.items() if value is None]
    asks = not options.yes and bool(missing)
    if asks and not sys.stdin.isatty():
        raise WrongChoice(
            f"Standard input is not a terminal, so nothing can be asked. Add --yes to take the defaults, or pass "
            f"{', '.join(missing)}."
        )
    known, providers, ways = ", ".join(FEATURES), ", ".join(PROVIDERS), ", ".join(DEPLOYMENTS)
    name = _answer(said["name"], "Name of the agent", name_from(folder), parse_name, asks=asks)
    provider: Provider = _answer(
        options.provider, f"Provider ({providers})", "foundry", one_of("provider", PROVIDERS), asks=asks
    )
    return Choices(
        name=name,
        provider=provider,
        model=_answer(said["model"], "Model", DEFAULT_MODEL, parse_model, asks=asks and provider != "offline"),
        deployment=_answer(
            options.deploy, f"Deployment ({ways})", "container", one_of("deployment", DEPLOYMENTS), asks=asks
        ),
        protocols=frozenset(options.protocol),
        features=_answer(said["features"], f"Features ({known}, or none)", "tools", parse_features, asks=asks),
    )


def name_from(folder: Path) -> str:
    """The default name: the folder's, as far as a name can hold it."""
    wanted = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())[:63].strip("-")
    return wanted if _NAME.fullmatch(wanted) else "my-agent"


def parse_name(text: str) -> str:
    """A name that azd, Foundry and Python packages all take."""
    if not _NAME.fullmatch(text):
        raise WrongChoice(
            f"{text!r} cannot be the agent's name: 2 to 63 lower-case letters, digits and hyphens, none at an end."
        )
    return text


def parse_model(text: str) -> str:
    """A model's name."""
    if not _MODEL.fullmatch(text):
        raise WrongChoice(
            f"{text!r} cannot be a model's name: letters, digits, dots, hyphens and underscores, up to 64."
        )
    return text


def one_of(what: str, known: Mapping[T, str]) -> Callable[[str], T]:
    """A parser for one of a few names; it raises `WrongChoice` for any other."""

    def parse(text: str) -> T:
        for name in known:
            if name == text:
                return name
        raise WrongChoice(f"There is no {what} {text!r}. Choose one of: {', '.join(map(str, known))}.")

    return parse


def parse_features(text: str) -> frozenset[Feature]:
    """A list of features; `approvals` brings `tools` along."""
    names = [name.strip() for name in text.split(",") if name.strip() and text.strip() != "none"]
    if unknown := [name for name in names if name not in FEATURES]:
        raise WrongChoice(f"There is no feature {unknown[0]!r}. Choose from: {', '.join(FEATURES)}, none.")
    return frozenset(cast("list[Feature]", [*names, "tools"] if "approvals" in names else names))


def _answer(said: str | None, question: str, default: str, parse: Callable[[str], T], *, asks: bool) -> T:
    if said is not None:
        return parse(said)
    if not asks:
        return parse(default)
    while True:
        try:
            return parse(input(f"{question} [{default}]: ").strip() or default)
        except WrongChoice as error:
            print(error.message)
        except EOFError:
            print()
            raise WrongChoice("The input ended before everything was answered.") from None


def missing(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The files that do not exist in a folder yet."""
    return {name: text for name, text in files.items() if not _exists(folder / name)}


def write(folder: Path, files: Mapping[str, str], *, reserved: Iterable[str] = ()) -> None:
    """Write all files, or none.

    Args:
        folder: Created if it does not exist.
        reserved: Paths that must be free as well, for what is written later.

    Raises:
        CommandError: One of the paths exists, or a file stands where a folder must be.
        OSError: The folder cannot be written.
    """
    if _exists(folder) and not folder.is_dir():
        what = "a file" if folder.exists() else "a link to what is not there"
        raise CommandError(f"Nothing was written: {folder} is {what}, not a folder. Choose another folder.")
    if taken := sorted(set(_taken(folder, [*files, *reserved]))):
        raise CommandError(
            f"Nothing was written, for init overwrites nothing. In {folder} there is already: {', '.join(taken)}. "
            f"Choose another folder, move these away, or add what is missing with --add."
        )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x": what another process has made since the look above is not overwritten either.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _taken(folder: Path, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        if _exists(folder / name):
            yield name
        for parent in Path(name).parents:
            if _exists(folder / parent) and not (folder / parent).is_dir():
                yield parent.as_posix()


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
