"""What a measured process is told by whoever started it: environment variables, because reading them costs nothing."""

from __future__ import annotations

import os
from typing import Any

PORT = int(os.environ.get("BENCH_PORT", "0"))
STORE = os.environ.get("BENCH_STORE", "memory")
"""`memory`, `file` or `foundry`."""

ROOT = os.environ.get("BENCH_ROOT", "")
"""A folder of this process's own."""

SHIPPED_TELEMETRY = os.environ.get("BENCH_TELEMETRY", "off") == "shipped"
"""Whether the SDK sets up logging and telemetry as it does by default; off, because most of it is a fixed price."""

KEEP_ALIVE = float(os.environ.get("BENCH_KEEP_ALIVE", "0"))
"""Seconds between keep-alive comments, for ours; 0 leaves what is shipped."""

HOST = "127.0.0.1"


def sdk_keywords() -> dict[str, Any]:
    """What turns the SDK's own set-up of telemetry off."""
    return {} if SHIPPED_TELEMETRY else {"configure_observability": None}
