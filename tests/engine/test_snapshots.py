"""Why a process is not captured."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hostedagent.engine.hooks import Hooks
from hostedagent.engine.snapshots import SnapshotError, Snapshots

SECRET = "secret-4711"


class Refusing:
    """A host that does not suspend."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.resumed = 0

    async def suspend(self) -> None:
        raise self.error

    async def resume(self) -> None:
        self.resumed += 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SnapshotError("The process cannot be captured while a turn runs."), "while a turn runs"),
        (RuntimeError(SECRET), "The process cannot be captured."),
    ],
)
async def test_a_host_says_why_it_is_not_captured_and_serves_on(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = Refusing(error)
    with pytest.raises(SnapshotError, match=told) as refused:
        await Snapshots(Hooks(), cast("Any", [host])).before()

    assert host.resumed == 1 and SECRET not in str(refused.value)
    assert bool(caplog.records) is isinstance(error, RuntimeError)
