"""What `resilient_background` asks for. What it does is tried with processes: tests/crash/test_recovery.py."""

from __future__ import annotations

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.errors import ConfigurationError
from hostedagent.stores.factory import memory_stores
from hostedagent.testing import ScriptedAgent


def test_stores_that_end_with_the_process_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="outlive"):
        AgentHost(ScriptedAgent(["hi"]), stores=memory_stores(), options=HostOptions(resilient_background=True))
