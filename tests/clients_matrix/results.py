"""The recorded table: what came of every case when it was last recorded. `docs/clients.md` is generated from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .clients import CLIENTS
from .features import FEATURES
from .matrix import MODES, Outcome

FILE: Final = Path(__file__).with_name("results.json")


def read() -> dict[str, Any]:
    """The recorded clients, by name."""
    return json.loads(FILE.read_text(encoding="utf-8"))["clients"] if FILE.exists() else {}


def recorded(outcomes: Sequence[Outcome]) -> dict[str, dict[str, str]]:
    """The outcomes of one client in the form in which they are recorded."""
    cells: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        is_absent = outcome.verdict == "absent"
        cells.setdefault(outcome.feature, {})[outcome.mode] = outcome.why if is_absent else outcome.verdict
    return cells


def described(name: str) -> dict[str, Any]:
    """What the table says of a client beside its outcomes."""
    client = CLIENTS[name]
    versions = {package: version for package, version in client.environment.versions.items() if package != "node"}
    loses = {name: loss.why for name, loss in client.loses.items()}
    fields = {"title": client.title, "setting": client.setting, "versions": versions, "loses": loses}
    return {**fields, "in_client": client.in_client} if client.in_client else fields


def features() -> dict[str, Any]:
    """What the table says of each feature."""
    return {name: {"title": feature.title, "about": feature.about} for name, feature in FEATURES.items()}


def write(name: str, outcomes: Sequence[Outcome]) -> None:
    """Record what a client did, beside what is recorded of other clients and features."""
    clients = read()
    cells = {**clients.get(name, {}).get("cells", {}), **recorded(outcomes)}
    clients[name] = {**described(name), "cells": {feature: cells[feature] for feature in FEATURES if feature in cells}}
    table = {
        "modes": MODES,
        "features": features(),
        "clients": {known: clients[known] for known in CLIENTS if known in clients},
    }
    FILE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
