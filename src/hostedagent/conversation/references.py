"""Resolves item references and checks tool outputs of an input, before the first byte.

The SDK silently drops a reference to a missing item, and a handler that finds an output without its call can only fail
the response. Most inputs contain neither and cost nothing here. Items that were read are passed on and not read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

from hostedagent.conversation.compaction import open_history
from hostedagent.conversation.transcript import read_items
from hostedagent.errors import InvalidRequest, NotFound
from hostedagent.off_loop import off_loop
from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.content.own_calls import is_own_call, is_partial
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import check_answers
from hostedagent.protocol.types import Item
from hostedagent.stores.base import ResponseRepository
from hostedagent.stores.seals import Seals

NAMING: Final = frozenset({"item_reference", "mcp_call"})
"""The types of items that may stand for a stored one."""

_ANSWERS: Final = frozenset(kind for kind, codec in BY_ITEM.items() if codec.item_types[kind] == "tool")


async def resolve_named(
    request: TurnRequest, repository: ResponseRepository, history_ids: Sequence[str], seals: Seals
) -> TurnRequest:
    """Check the tool outputs of the input, and replace references by the stored items.

    Returns:
        The request, with its history if a tool output made reading it necessary.

    Raises:
        InvalidRequest: An item answers a call that does not exist or was answered before, or repeats an item of the
            conversation.
    """
    if history_ids:
        check_duplicates(request.input, history_ids)
    if any(item.get("type") in _ANSWERS for item in request.input):
        history = await read_items(repository, request.caller, history_ids)
        await open_history(history, request.caller, seals, request.reader)
        checked = await off_loop(
            len(history) + len(request.input), check_answers, history, request.input, request.reader
        )
        request = replace(request, history=history, input=checked)
    return request


def check_duplicates(items: Sequence[Item], history_ids: Sequence[str]) -> None:
    """Check that the input repeats no item of the conversation, except a call before its output.

    Raises:
        InvalidRequest: It repeats one, by reference or as a whole item.
    """
    known = frozenset(history_ids)
    answered = {item.get("call_id") for item in items if item.get("type") in _ANSWERS}
    answered |= {item.get("approval_request_id") for item in items}
    for n, item in enumerate(items):
        item_id = item.get("id")
        if item_id in known and not answered & {item_id, item.get("call_id")} - {None}:
            raise InvalidRequest(
                f"input[{n}].id {item_id!r} is an item that the conversation has already. Send only what is new.",
                param=f"input[{n}].id",
            )


async def resolve_references(request: TurnRequest, repository: ResponseRepository) -> TurnRequest:
    """The request with references replaced by the stored items.

    Some clients send an `mcp_call` back without its result or arguments, because the service has them: such a call is
    treated as a reference that may be unresolved.

    Raises:
        NotFound: A reference names an item that does not exist in the caller's scope.
    """
    items = request.input
    places = [n for n, item in enumerate(items) if item.get("type") == "item_reference" or is_partial(item)]
    if not places:
        return request
    ids = [cast("str", items[n]["id"]) for n in places]
    found = await repository.items(request.caller, ids)
    resolved = list(items)
    for n, item_id, item in zip(places, ids, found, strict=True):
        if is_partial(items[n]):
            is_same = item is not None and is_own_call(item) and item.get("name") == items[n].get("name")
            resolved[n] = item if item is not None and is_same else items[n]
        elif item is None:
            raise NotFound(f"input[{n}]: there is no item with the id {item_id!r}.", param=f"input[{n}].id")
        else:
            resolved[n] = item
    return replace(request, input=tuple(resolved))
