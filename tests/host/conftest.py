import pytest

from tests.host.specification import specification
from tests.host.world import driver, stores, writes
from tests.stores import CHOSEN

__all__ = ["driver", "specification", "stores", "writes"]

ON_BOTH_DRIVERS = {
    "test_after_failure",
    "test_approvals",
    "test_bad_input",
    "test_compaction",
    "test_conversations",
    "test_ending",
    "test_turn",
}
"""Modules whose tests run on the SDK's host and on our own routes, with the same expectations."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules once for each driver."""
    if metafunc.function.__module__.rpartition(".")[2] in ON_BOTH_DRIVERS:
        # The SDK's host keeps streams and background turns in its process: replicas serve on the own routes.
        drivers = ["agentserver", "starlette"] if CHOSEN.replicas == 1 else ["starlette"]
        metafunc.parametrize("driver", drivers, indirect=True)
