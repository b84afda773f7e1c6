"""A response that has ended stays as it is, where nothing of its turn is stored later."""

from __future__ import annotations

from typing import Any

import pytest

from hostedagent.identity import Caller
from hostedagent.stores.base import StoreConflict
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses

RESPONSE: dict[str, Any] = {"id": "caresp_1", "status": "in_progress", "output": []}


class Transactional(MemoryStore):
    is_transactional = True


@pytest.mark.parametrize("status", ["completed", "incomplete"])
async def test_a_response_that_was_completed_does_not_fail_where_its_turn_was_stored_with_it(status: str) -> None:
    store = Transactional()
    responses = StoredResponses(store)
    await responses.create(Caller(), RESPONSE, [])
    await responses.update(Caller(), {**RESPONSE, "status": status})
    for process in (responses, StoredResponses(store)):
        with pytest.raises(StoreConflict):
            await process.update(Caller(), {**RESPONSE, "status": "failed"})
    assert (await responses.get(Caller(), "caresp_1"))["status"] == status
