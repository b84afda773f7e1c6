from __future__ import annotations

import os
from typing import cast

import pytest
from hypothesis import settings

from tests.stores import CHOSEN, KINDS, StoreKind

# A slow example is the machine's doing. In CI every run tries the same examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stores", choices=KINDS, default="memory", help="the stores of the hosts that tests serve")


def pytest_configure(config: pytest.Config) -> None:
    CHOSEN.kind = cast("StoreKind", config.getoption("--stores"))
