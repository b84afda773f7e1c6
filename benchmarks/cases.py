"""All there is to measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chains import CHAINS
from lifetimes import LIFETIMES
from loads import LOADS
from profiles import PROFILES
from rows import Case
from variants import VARIANTS

CASES: Final[Mapping[str, Case]] = {case.name: case for case in (*LOADS, *CHAINS, *LIFETIMES, *PROFILES, *VARIANTS)}
