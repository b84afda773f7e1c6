"""Compacts a conversation on request, without a turn: returns the compacted items and stores nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from hostedagent.agents.compaction import compact
from hostedagent.agents.usage import NONE_USED, UsageCount
from hostedagent.conversation.compaction import open_history, open_input, seal_messages
from hostedagent.conversation.references import resolve_named, resolve_references
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.engine import Engine
from hostedagent.engine.input_tokens import excluded
from hostedagent.errors import InvalidRequest, RequestError
from hostedagent.failures import TurnFailed, failed, failure
from hostedagent.identity import RequestContext, enter_context
from hostedagent.off_loop import off_loop
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.envelope import public_item
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.compaction import is_from_user, split_open
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.transcript.storing import with_own_id
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import StoreError

_OBJECT: Final = "response.compaction"


async def compact_conversation(engine: Engine, request: TurnRequest) -> dict[str, Json]:
    """The compacted conversation: the user's messages, a compaction item, and the items that need an answer.

    Raises:
        RequestError: The request is refused, or the model returned no summary.
        StoreError: A store is not available.
    """
    items = await _conversation(engine, request)
    done, waiting = split_open(items)
    if not done:
        raise InvalidRequest("There is nothing to compact: send items, or previous_response_id.", param="input")
    try:
        async with asyncio.timeout(engine.options.run_timeout):
            sealed, usage = await _sealed(engine, request, done)
    except (RequestError, StoreError):
        raise
    except TimeoutError:
        raise TurnFailed(failed("timeout")) from None
    except Exception as error:
        raise TurnFailed(failure(error)) from error
    item: Item = {"id": new_item_id("cmp", ""), "type": ITEM, "encrypted_content": sealed}
    return {
        "id": new_item_id("resp", ""),
        "object": _OBJECT,
        "created_at": int(time.time()),
        "output": [*(_shown(row) for row in done if is_from_user(row)), item, *map(_shown, waiting)],
        "usage": usage,
    }


async def _conversation(engine: Engine, request: TurnRequest) -> Sequence[Item]:
    """The items of a conversation, checked as for a turn, and with its last compaction item opened."""
    caller, store, seals = request.caller, engine.store, engine.services.sessions.seals
    request = await resolve_references(request, store, caller)
    await open_input(request, seals)
    ids = await history_ids(store, caller, request, await excluded(engine, request))
    request = await resolve_named(request, store, caller, ids, seals)
    history = await read_items(store, caller, ids)
    await open_history(history, caller, seals, request.reader)
    return [*history, *request.input]


async def _sealed(engine: Engine, request: TurnRequest, items: Sequence[Item]) -> tuple[str, Json]:
    """The compacted items, sealed, and the tokens that compacting used."""
    enter_context(RequestContext(request.caller, request))
    messages = await off_loop(
        len(items),
        to_messages,
        items,
        (),
        trusts_roles=engine.options.caller.trusts_roles,
        instructions=request.options.instructions,
        reader=request.reader,
    )
    async with AsyncExitStack() as opened:
        agent = await engine.services.source.open(request, opened)
        found = await compact(agent, messages, (), engine.options.compaction)
    count = UsageCount(NONE_USED)
    if found.usage is not None:
        count.add(found.usage)
    return await seal_messages(engine.services.sessions.seals, request.caller, found.messages), count.wire()


def _shown(item: Item) -> Item:
    """An item as clients see it, with an id."""
    shown = public_item(item if item.get("id") else with_own_id(item, ""))
    return {**shown, "status": shown.get("status") or "completed"} if is_from_user(shown) else shown
