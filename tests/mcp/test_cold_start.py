"""What is not used is not loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import PATIENCE

SCRIPT = """
import sys
from agent_framework import Agent
from hostedagent import AgentHost, FoundryToolbox, McpTools
from hostedagent.testing import OfflineChatClient

providers = [
    McpTools("docs", "https://mcp.example/mcp"),
    FoundryToolbox("research", project_endpoint="https://a.services.ai.azure.com/api/projects/p"),
]
AgentHost(Agent(OfflineChatClient(), context_providers=providers)).app
print(sorted({"mcp", "httpx2", "azure.identity", "hostedagent.mcp.client"} & set(sys.modules)))
"""


def test_a_host_with_mcp_tools_loads_neither_mcp_nor_azure_identity_before_it_needs_them() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


@pytest.mark.parametrize("module", ["hostedagent.host", "hostedagent.engine.turn"])
def test_the_host_itself_does_not_load_them(module: str) -> None:
    code = f"import sys, {module}; print('mcp' in sys.modules, 'hostedagent.mcp.toolset' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert ran.stdout.split() == ["False", "False"], ran.stderr
