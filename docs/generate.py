"""Generates the documents that come from tables in the code and its tests, so that they cannot drift from the code.

`python docs/generate.py` writes them; `--check` writes nothing, names each one that differs and exits with 1.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import runpy
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from hostedagent.options import CallerPolicy, HostOptions
from hostedagent.protocol.content import CODECS, NOT_ITEMS, Codec

_HERE: Final = Path(__file__).parent
_CONTENT: Final = "the rows in src/hostedagent/protocol/content"
_LIFECYCLE: Final = "tests/lifecycle/table.py"
_FRAMEWORK: Final = "tests/clients/framework_matrix.py"
_CLIENTS: Final = "tests/clients_matrix/results.json"
_DOORS: Final = "tests/doors/table.py"
_ROLES: Final = {
    "assistant": "assistant",
    "tool": "tool",
    "user": "user",
    "own": "the role that it names",
}
_SDK_HEAD: Final = ("", "Driver", "SDK", "hostedagent", "Why")


def content_types() -> str:
    """The document of how every content type and every item type is mapped."""
    return _document(
        "# Content types",
        "How Agent Framework contents map to Responses items for the client, and items to contents for the model. "
        "Each row is one family, which is one file in `src/hostedagent/protocol/content`. The limits of each family "
        "are in [limitations.md](limitations.md).",
        _table(("Family", "Agent Framework contents", "Responses items", "Read", "Sent", "Streams"), _overview()),
        *(_section(codec) for codec in CODECS),
        "## Item types without a family",
        _table(("Item", "Why"), ((f"`{kind}`", reason) for kind, reason in NOT_ITEMS.items())),
    )


def limitations() -> str:
    """The document that collects what users must know."""
    return _document(
        "# Limitations of content types",
        "Content that is lost, shortened or sent in an unexpected form, by family. "
        "[content-types.md](content-types.md) lists every mapping.",
        *(
            f"## {_title(codec)}\n\n" + "\n".join(f"- {sentence}" for sentence in codec.limits)
            for codec in CODECS
            if codec.limits
        ),
        "## The SDK's host",
        "[Routes](routes.md) lists the driver of each route: conversations, WebSocket mode and "
        '`Idempotency-Key` need `AgentHost(driver="starlette")`. From Python 3.12 on, the SDK\'s host ends the stream '
        "of a background turn that is cancelled without a terminal event; GET returns the cancelled response.",
        "## Differences from the SDK's own tests",
        "The source distributions of `azure-ai-agentserver-responses` and `azure-ai-agentserver-invocations` contain "
        "tests. `uv run python -m tests.sdk_suite` runs them against hostedagent instead of the SDK's host, on both "
        "drivers. These tables list the differences, except those that concern handlers or stores of the SDK.",
        "### Responses",
        _table(_SDK_HEAD, _sdk_differences("responses")),
        "### Invocations",
        _table(_SDK_HEAD, _sdk_differences("invocations")),
    )


def _sdk_differences(suite: str) -> Iterable[tuple[str, ...]]:
    found = tomllib.loads((_HERE.parent / "tests/sdk_suite/differences.toml").read_text(encoding="utf-8"))
    for row in found[suite]:
        if "about" in row:
            drivers = "".join(f"`{driver}`" for driver in row.get("drivers", [])) or "both"
            yield row["about"], drivers, row["sdk"], row["here"], row["why"]


def turn_lifecycle() -> str:
    """The document of how a turn can end, and what clients see of it."""
    told = runpy.run_path(str(_HERE.parent / _LIFECYCLE))
    parts = ["# How a turn ends", *told["STORY"]]
    for ending, story in told["ENDINGS"].items():
        rows = ((mode, *told["TABLE"][ending, mode]) for mode in told["MODES"])
        head = ("", "On the wire", "GET afterwards", "In the next prompt")
        parts += [f"## {ending[0].upper()}{ending[1:]}", story, _table(head, rows)]
    return _document(*parts, source=_LIFECYCLE)


def agent_framework() -> str:
    """The document of how Agent Framework's extension points behave behind a host."""
    matrix = runpy.run_path(str(_HERE.parent / _FRAMEWORK))
    histories = matrix["HISTORIES"]
    head = ("Extension point", "In Agent Framework", *(f"`{history}`" for history in histories))
    rows = (
        (f"{name[0].upper()}{name[1:]}", what, *(cells[history] for history in histories))
        for name, (what, cells) in matrix["POINTS"].items()
    )
    left = "\n".join(f"- `{name}`: {why}." for name, why in matrix["NOT_TRIED"].items())
    parts = (*matrix["STORY"], _table(head, rows), "Not tried:", left)
    return _document("# Agent Framework behind a host", *parts, source=_FRAMEWORK)


def clients() -> str:
    """The document of the clients that work, and the settings that each needs."""
    table = json.loads((_HERE.parent / _CLIENTS).read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, row in table["clients"].items():
        versions = ", ".join(f"`{name}` {version}" for name, version in row["versions"].items())
        cells = [_cell(row, feature) for feature in table["features"]]
        rows.append((f"[{row['title']}](clients/{name}.md)", row["setting"], *cells))
        reasons = dict.fromkeys(_reasons(row, table))
        notes.append(f"- {row['title']}: {versions}." + "".join(f" {reason}." for reason in reasons))
    head = ("Client", "Setting needed", *(feature["title"] for feature in table["features"].values()))
    return _document(
        "# Clients",
        "The clients that `tests/clients_matrix` tests against a hosted agent: each in its own environment, in its "
        "newest version, with an agent that has instructions, a tool, and a tool that needs approval. The tests check "
        "the client's result and the requests that reach the model. `yes` means that the feature works both plain and "
        "streamed, `partly` that the client itself drops something, and `-` that the client lacks the feature; the "
        "reasons are listed below.",
        _table(head, rows),
        "## Features",
        "\n".join(f"- **{feature['title']}**: {feature['about']}" for feature in table["features"].values()),
        "## Versions and missing features",
        "\n".join(notes),
        source=_CLIENTS,
    )


_SNIPPETS: Final = "tests/clients_matrix/snippets"
_LANGUAGES: Final = {".py": "python", ".mjs": "javascript", ".toml": "toml", ".yaml": "yaml"}


def client_page(name: str) -> str:
    """The page of one client: its configuration, the features that work, and the missing ones."""
    table = json.loads((_HERE.parent / _CLIENTS).read_text(encoding="utf-8"))
    row = table["clients"][name]
    (snippet,) = (_HERE.parent / _SNIPPETS).glob(f"{name}.*")
    language = _LANGUAGES[snippet.suffix]
    features = ((feature["title"], _cell(row, key), feature["about"]) for key, feature in table["features"].items())
    reasons = [f"- {reason}." for reason in dict.fromkeys(_reasons(row, table))]
    versions = ", ".join(f"`{package}` {version}" for package, version in row["versions"].items())
    return _document(
        f"# {row['title']}",
        f"```{language}\n{snippet.read_text(encoding='utf-8').strip()}\n```",
        f"Setting of the host: {row['setting']}. Tested with {versions}.",
        _table(("Feature", "Works", ""), features),
        *(["\n".join(reasons)] if reasons else []),
        "[All clients](../clients.md)",
        source=f"{_CLIENTS} and {_SNIPPETS}",
    )


def _client_pages() -> dict[str, Callable[[], str]]:
    names = json.loads((_HERE.parent / _CLIENTS).read_text(encoding="utf-8"))["clients"]
    return {f"clients/{name}.md": partial(client_page, name) for name in names}


def _cell(row: Mapping[str, Any], feature: str) -> str:
    modes: Mapping[str, str] = row["cells"][feature]
    yes = "partly" if feature in row["loses"] else "yes"
    verdicts = [{"yes": yes, "no": "no"}.get(value, "-") for value in modes.values()]
    if len({*verdicts}) == 1:
        return verdicts[0]
    return ", ".join(f"{mode}: {verdict}" for mode, verdict in zip(modes, verdicts, strict=True) if verdict != "-")


def _reasons(row: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    for name, why in row["loses"].items():
        yield f"{table['features'][name]['title']}: {why}"
    for name, modes in row["cells"].items():
        absent = {mode: why for mode, why in modes.items() if why not in ("yes", "no")}
        title = table["features"][name]["title"]
        for mode, why in absent.items():
            yield f"{title}{'' if len(absent) > 1 else f', {mode}'}: {why}"
    if row.get("in_client"):
        yield f"In the client: {row['in_client']}"


def options() -> str:
    """The document of every setting, from the docstrings of the classes."""
    return _document(
        "# Options",
        "`AgentHost(agent, options=HostOptions(...))` configures the host, and "
        "`HostOptions(caller=CallerPolicy(...))` defines which fields a request may set. Both check every value when "
        "they are created. A request that exceeds a limit gets the status that the option's row names, before "
        "anything runs.",
        *(
            part
            for kind in (HostOptions, CallerPolicy)
            for part in (f"## {kind.__name__}", _table(("Option", "Default", ""), _option_rows(kind)))
        ),
        "## Fields of a request",
        "Sampling options, `reasoning`, `text.format`, `tool_choice` and similar fields become Agent Framework "
        "options. Every field of the protocol is treated in one of four ways: it is forwarded to the agent; accepted "
        "without effect, because the host decides it; refused with a 400 that names it; or used by the host itself, "
        "such as `input` and `store`. Fields that are not in the protocol are ignored.",
        source="the docstrings in src/hostedagent/options.py",
    )


def _option_rows(kind: type[HostOptions] | type[CallerPolicy]) -> Iterator[tuple[str, ...]]:
    texts = dict(_arguments(inspect.getdoc(kind) or ""))
    values = kind()
    for row in fields(kind):
        yield f"`{row.name}`", _default(row.name, getattr(values, row.name)), texts[row.name]


def _arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """The names under `Args:` with their texts, each joined to one line."""
    _, _, section = docstring.partition("Args:\n")
    section, _, _ = section.partition("\n\n")
    for found in re.finditer(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        yield found[1], re.sub(r"\s+", " ", found[2])


def _default(name: str, value: Any) -> str:
    if name == "caller":
        return "`CallerPolicy()`"
    if isinstance(value, frozenset):
        return ", ".join(f"`{one}`" for one in sorted(cast("frozenset[str]", value))) or "none"
    if name.endswith("_bytes"):
        return f"{value // 1024**2} MiB"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"`{value!r}`"


def doors() -> str:
    """The document that compares the doors."""
    told = runpy.run_path(str(_HERE.parent / _DOORS))
    rows = [(feature, *(row[feature] for row in told["DOORS"].values())) for feature in told["FEATURES"]]
    intro = "The features that each [door](doors.md) supports."
    return _document("# Doors compared", intro, _table(("", *told["DOORS"]), rows), source=_DOORS)


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "doors-compared.md": doors,
    "agent-framework.md": agent_framework,
    "content-types.md": content_types,
    "limitations.md": limitations,
    "internals/turn-lifecycle.md": turn_lifecycle,
    "clients.md": clients,
    "options.md": options,
    **_client_pages(),
}


def _overview() -> Iterator[tuple[str, ...]]:
    for codec in CODECS:
        yield (
            f"[{codec.family}](#{codec.family.replace('_', '-')})",
            _names(codec.content_types),
            _names(codec.item_types) if len(codec.item_types) < 8 else f"{len(codec.item_types)} types, see below",
            *("no" if direction in codec.absent else "yes" for direction in ("read", "emit", "stream")),
        )


def _section(codec: Codec) -> str:
    story = (import_module(f"hostedagent.protocol.content.{codec.family}").__doc__ or "").strip()
    parts = [f"## {_title(codec)}", story]
    if codec.item_types:
        rows = ((f"`{kind}`", _ROLES[role]) for kind, role in codec.item_types.items())
        parts.append(_table(("Item", "Role"), rows))
    verbs = {"read": "Not read", "emit": "Not sent", "stream": "Does not stream"}
    reasons = [f"- {verb}: {codec.absent[name]}" for name, verb in verbs.items() if name in codec.absent]
    return "\n\n".join([*parts, "\n".join(reasons)]).strip()


def _title(codec: Codec) -> str:
    return codec.family.replace("_", " ").capitalize()


def _names(kinds: Iterable[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds) or "none"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _document(*parts: str, source: str = _CONTENT) -> str:
    return "\n\n".join([f"<!-- Written by docs/generate.py from {source}. Do not edit. -->", *parts]) + "\n"


def drifting(folder: Path = _HERE) -> list[str]:
    """The names of the documents in `folder` that are missing or differ from the code."""
    return [name for name, write in DOCUMENTS.items() if _written(folder / name) != write()]


def _written(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None, folder: Path = _HERE) -> int:
    """Write the documents, or check them.

    Returns:
        The exit code: 1 when `--check` found a document that differs.
    """
    parser = argparse.ArgumentParser(description="Write the documents that follow from tables.")
    parser.add_argument("--check", action="store_true", help="write nothing, name the documents that differ")
    if parser.parse_args(arguments).check:
        names = drifting(folder)
        for name in names:
            print(f"{name} differs from the code: run `python docs/generate.py`.", file=sys.stderr)
        return 1 if names else 0
    for name, write in DOCUMENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(write(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
