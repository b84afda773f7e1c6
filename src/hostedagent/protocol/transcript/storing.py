"""Input items as they are stored: each with an id of its own, so that it replaces no stored item.

Where the id that a caller gave reaches a model, it is remembered: the next turn reads the stored item, and its prompt
must begin as that of this turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hostedagent.protocol.content.own_calls import LOCAL_SERVER
from hostedagent.protocol.ids import batch_of, new_item_id
from hostedagent.protocol.types import Item, Json

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}

_REMEMBERED: Final[Mapping[str, str]] = {
    "reasoning": "provider_id",
    "mcp_call": "call_id",
    "mcp_approval_request": "request_id",
    "code_interpreter_call": "call_id",
    "image_generation_call": "call_id",
    "web_search_call": "call_id",
    "file_search_call": "call_id",
    "local_shell_call_output": "call_id",
    "local_shell_call": "provider_id",
    "shell_call": "provider_id",
    "shell_call_output": "provider_id",
    "computer_call": "provider_id",
}
"""Item type to the name under which its family finds the id that the caller gave (`recall`)."""


def stored_input(items: Sequence[Item], response_id: str) -> list[Item]:
    """Input items as they are stored with a response."""
    return [with_own_id(item, response_id) for item in items]


def with_own_id(item: Item, owner: str) -> Item:
    """An item as it is stored."""
    prefix, given = _PREFIXES.get(str(item.get("type")), "item"), item.get("id")
    stored = {**item, "id": new_item_id(prefix, owner, batch_of(given))}
    memory = _memory(item) if isinstance(given, str) and given else None
    return {**stored, "internal_metadata": {"hostedagent": memory}} if memory is not None else stored


def _memory(item: Item) -> Mapping[str, Json] | None:
    kind = str(item.get("type"))
    name = _REMEMBERED.get(kind)
    # Reasoning without an encrypted form is not passed on, and one with an id would be.
    if name is None or "internal_metadata" in item or (kind == "reasoning" and not item.get("encrypted_content")):
        return None
    is_own = kind == "mcp_call" and item.get("server_label") == LOCAL_SERVER
    return {name: item["id"], "own": True} if is_own else {name: item["id"]}
