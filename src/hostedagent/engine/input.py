"""Works on the input of a request without a turn: counts its tokens, and compacts a conversation. Stores nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from agent_framework import Message

from hostedagent.agents.compaction import compact
from hostedagent.agents.tokens import count_tokens
from hostedagent.agents.usage import NONE_USED, UsageCount
from hostedagent.conversation.compaction import open_history, open_input, seal_messages
from hostedagent.conversation.references import resolve_named, resolve_references
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.engine import Engine
from hostedagent.errors import InvalidRequest, RequestError
from hostedagent.failures import TurnFailed, failed, failure
from hostedagent.identity import RequestContext, enter_context
from hostedagent.off_loop import off_loop
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.envelope import listed_item
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.compaction import is_from_user, split_open
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.transcript.storing import with_own_id
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import StoreError


async def count_input_tokens(engine: Engine, request: TurnRequest) -> int:
    """Count the tokens that the model would get: instructions, tools, the conversation and the input.

    Raises:
        NotFound: `previous_response_id` or a reference does not exist, or belongs to another scope.
        InvalidRequest: An input item answers a call that does not exist.
    """
    request, ids = await _opened(engine, request)
    messages = await _messages(engine, request, await _history(engine, request, ids), request.input)
    return await count_tokens(engine.services.source.instance, messages, request.options)


async def compact_conversation(engine: Engine, request: TurnRequest) -> dict[str, Json]:
    """The compacted conversation: the user's messages, a compaction item, and the items that need an answer.

    Raises:
        RequestError: The request is refused, or the model returned no summary.
        StoreError: A store is not available.
    """
    request, ids = await _opened(engine, request)
    request = await resolve_named(request, engine.store, ids, engine.services.sessions.seals)
    done, waiting = split_open([*await _history(engine, request, ids), *request.input])
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
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": await off_loop(len(done) + len(waiting), _output, done, item, waiting),
        "usage": usage,
    }


async def _opened(engine: Engine, request: TurnRequest) -> tuple[TurnRequest, Sequence[str]]:
    """The request with its references resolved and its compaction item opened, and the ids of the items before it."""
    sessions, caller, excluded = engine.services.sessions, request.caller, ()
    request = await resolve_references(request, engine.store)
    await open_input(request, sessions.seals)
    if request.previous_response_id is not None:
        excluded = (await sessions.resume(caller, request.previous_response_id)).excluded
    elif request.conversation_id is not None:
        excluded = (await sessions.head(caller, request.conversation_id)).excluded
    return request, await history_ids(engine.store, caller, request, excluded)


async def _history(engine: Engine, request: TurnRequest, ids: Sequence[str]) -> Sequence[Item]:
    """The items before the request, with their last compaction item opened."""
    if request.history is not None:
        return request.history
    items = await read_items(engine.store, request.caller, ids)
    await open_history(items, request.caller, engine.services.sessions.seals, request.reader)
    return items


async def _messages(
    engine: Engine, request: TurnRequest, history: Sequence[Item], new: Sequence[Item]
) -> Sequence[Message]:
    return await off_loop(
        len(history) + len(new),
        to_messages,
        history,
        new,
        trusts_roles=engine.options.caller.trusts_roles,
        instructions=request.options.instructions,
        reader=request.reader,
    )


async def _sealed(engine: Engine, request: TurnRequest, items: Sequence[Item]) -> tuple[str, Json]:
    """The compacted items, sealed, and the tokens that compacting used."""
    enter_context(RequestContext(request.caller, request))
    messages = await _messages(engine, request, items, ())
    async with AsyncExitStack() as opened:
        agent = await engine.services.source.open(request, opened)
        found = await compact(agent, messages, (), engine.options.compaction)
    count = UsageCount(NONE_USED)
    if found.usage is not None:
        count.add(found.usage)
    return await seal_messages(engine.services.sessions.seals, request.caller, found.messages), count.wire()


def _output(done: Sequence[Item], item: Item, waiting: Sequence[Item]) -> list[Item]:
    return [*(_shown(row) for row in done if is_from_user(row)), item, *map(_shown, waiting)]


def _shown(item: Item) -> Item:
    """An item as clients see it, with an id."""
    return listed_item(item if item.get("id") else with_own_id(item, ""))
