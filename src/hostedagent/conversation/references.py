"""What an input names must be there: the items it refers to, and the calls it answers. Asked before the first byte.

The SDK drops a reference to nothing without a word, and a handler that finds an answer to no call can only fail the
response. Most inputs name nothing; they cost nothing here. What had to be read is handed on, so that no one reads it
again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from azure.ai.agentserver.responses import FoundryResourceNotFoundError

from hostedagent.errors import NotFound
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import check_answers
from hostedagent.protocol.types import Item
from hostedagent.stores.responses import ResponseStore

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

logger = logging.getLogger(__name__)

_ANSWERS: Final = frozenset(kind for kind, codec in BY_ITEM.items() if codec.item_types[kind] == "tool")
_WHOLE: Final = -1
"""The SDK's history limit that means none."""


async def resolve_named(request: TurnRequest, store: ResponseStore, context: PlatformContext) -> TurnRequest:
    """Check what the input names, and put what was read in its place.

    Returns:
        The request with items instead of references; with its history, when an answer made that necessary.

    Raises:
        NotFound: A reference names an item that is not there, or is somebody else's.
        InvalidRequest: An item answers a call that does not exist, or that was answered before.
    """
    if request.has_references():
        request = replace(request, input=await _items(request.input, store, context))
    if any(item.get("type") in _ANSWERS for item in request.input):
        history = await _history(request, store, context)
        if history is not None:
            check_answers(history, request.input)
            request = replace(request, history=history)
    return request


async def _items(items: Sequence[Item], store: ResponseStore, context: PlatformContext) -> tuple[Item, ...]:
    places = [n for n, item in enumerate(items) if item.get("type") == "item_reference"]
    ids = [cast("str", items[n]["id"]) for n in places]
    found = cast("Sequence[Item | None]", await store.get_items(ids, context=context))
    resolved = list(items)
    for n, item_id, item in zip(places, ids, found, strict=True):
        if item is None:
            raise NotFound(f"input[{n}]: there is no item with the id {item_id!r}.", param=f"input[{n}].id")
        resolved[n] = item
    return tuple(resolved)


async def _history(request: TurnRequest, store: ResponseStore, context: PlatformContext) -> tuple[Item, ...] | None:
    """The conversation so far; `None` when it cannot be read, which the SDK will find and tell."""
    previous, conversation = request.previous_response_id, request.conversation_id
    if previous is None and conversation is None:
        return ()
    try:
        ids = await store.get_history_item_ids(previous, conversation, _WHOLE, context=context)
        found = cast("Sequence[Item | None]", await store.get_items(ids, context=context))
    except FoundryResourceNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - the SDK reads the same at once and answers with the right status
        log_failure(logger, "Reading the history of a turn that answers calls failed", error)
        return None
    return tuple(item for item in found if item is not None)
