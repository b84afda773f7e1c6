"""The outcome of a turn whose run raised an error, where the turn may be left to be resumed and where it may not."""

import pytest

from hostedagent.agents.pump import Silent, Stopped
from hostedagent.engine.output import EndedEarly
from hostedagent.engine.settlement import LOST, SILENT, outcome_of
from hostedagent.errors import InvalidRequest
from hostedagent.outcomes import Cancelled, Failed, Incomplete, Outcome
from hostedagent.stores.base import StoreConflict, StoreUnavailable

STEERED = Incomplete("steered")
FAILED = "server_error"


@pytest.mark.parametrize(
    ("error", "left", "kept"),
    [
        (Stopped("lost"), Cancelled("lost"), LOST),
        (Stopped("client"), Cancelled("client"), Cancelled("client")),
        (Stopped("shutdown"), Cancelled("shutdown"), Cancelled("shutdown")),
        (EndedEarly(STEERED), STEERED, STEERED),
        (Silent(), SILENT, SILENT),
        (StoreUnavailable("away"), Cancelled("lost"), FAILED),
        (StoreConflict("changed"), FAILED, FAILED),
        (InvalidRequest("not so", param="tools"), *[Failed("invalid_prompt", "not so", "tools")] * 2),
        (RuntimeError("secret"), FAILED, FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_turn_that_lost_its_store_or_its_conversation_has_failed_only_where_nobody_resumes_it(
    error: Exception, left: Outcome | str, kept: Outcome | str
) -> None:
    for may_be_left, expected in ((True, left), (False, kept)):
        found = outcome_of(error, "resp_1", may_be_left=may_be_left)
        if isinstance(expected, str):
            assert isinstance(found, Failed) and found.code == expected and "secret" not in found.message
        else:
            assert found == expected
