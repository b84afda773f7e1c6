from __future__ import annotations

from typing import cast

import pytest

from tests.stores import CHOSEN, KINDS, StoreKind


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stores", choices=KINDS, default="memory", help="the stores of the hosts that tests serve")


def pytest_configure(config: pytest.Config) -> None:
    CHOSEN.kind = cast("StoreKind", config.getoption("--stores"))
