"""Imports the public names of a package when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of such a package.

    Args:
        homes: Public name to the module that defines it; a module of the package may begin with a dot.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        collects = gc.isenabled()
        gc.disable()  # Modules stay: a collection among their imports costs a tenth of the start, and frees nothing.
        try:
            value = getattr(import_module(homes[name], package), name)
        finally:
            if collects:
                gc.enable()
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted(homes)
