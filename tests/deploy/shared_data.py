"""Data of Microsoft's that is not part of this project: azd's schemas and the types of Azure's resources."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ARM_TYPES = DATA / "arm-types"
AZD_SCHEMAS = DATA / "azd-schemas"

needs_arm_types = pytest.mark.skipif(
    not ARM_TYPES.is_dir(), reason="the types of Azure's resources are not at ../shared/data/arm-types"
)
needs_azd_schemas = pytest.mark.skipif(
    not AZD_SCHEMAS.is_dir(), reason="azd's schemas are not at ../shared/data/azd-schemas"
)
