"""Data of Microsoft's that is not part of this project: azd's schemas and the types of Azure's resources."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ARM_TYPES = DATA / "arm-types"
AZD_SCHEMAS = DATA / "azd-schemas"

needs_arm_types = pytest.mark.skipif(
    not ARM_TYPES.is_dir(),
    reason="needs ../shared/data/arm-types, the types of Azure's resources, from github.com/Azure/bicep-types-az",
)
needs_azd_schemas = pytest.mark.skipif(
    not AZD_SCHEMAS.is_dir(),
    reason="needs ../shared/data/azd-schemas, the schemas of azure.yaml, from github.com/Azure/azure-dev",
)
