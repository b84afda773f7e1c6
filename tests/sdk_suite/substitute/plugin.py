"""Puts our hosts in the place of the SDK's before its tests import them, and writes down how each test ended."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import azure.ai.agentserver.invocations
import azure.ai.agentserver.responses
import pytest

from .invocations import InvocationAgentServerHost
from .responses import ResponsesAgentServerHost

importlib.import_module("hostedagent.server.agentserver.app")  # It keeps the SDK's own host.
for module, host in (
    (azure.ai.agentserver.invocations, InvocationAgentServerHost),
    (azure.ai.agentserver.responses, ResponsesAgentServerHost),
):
    setattr(module, host.__name__, host)

_OUTCOMES: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the outcome of a test."""
    if report.when == "call" or report.outcome != "passed":
        _OUTCOMES[report.nodeid] = report.outcome


def pytest_sessionfinish(session: Any) -> None:
    """Write the outcomes, where this is not one of several processes."""
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["SUBSTITUTE_OUTCOMES"]).write_text(json.dumps(_OUTCOMES), encoding="utf-8")
