"""Items without a content in Agent Framework: tools that Foundry runs, programs, workflow steps.

They are stored and sent unchanged. The model sees a short line of text for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent_framework import Content

from hostedagent.protocol.content.codec import Codec
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import joined_texts
from hostedagent.protocol.wire import wire_json, wire_text

MAX_DESCRIPTION: Final = 2_000
"""Maximum characters of an item that the model sees."""

_TOOLS: Final = (
    "a2a_preview",
    "azure_ai_search",
    "azure_function",
    "bing_custom_search_preview",
    "bing_grounding",
    "browser_automation_preview",
    "fabric_dataagent_preview",
    "openapi",
    "sharepoint_grounding_preview",
)

_OTHERS: Final = (
    "additional_tools",
    "memory_search_call",
    "program",
    "program_output",
    "structured_outputs",
    "workflow_action",
)

OUTPUT_ONLY: Final = (
    *(f"{tool}_call" for tool in _TOOLS),
    *(f"{tool}_call_output" for tool in _TOOLS),
    "structured_outputs",
    "workflow_action",
)
"""Items that agents send and that the SDK's schema has no input form for."""

NOT_ITEMS: Final[Mapping[str, str]] = {
    "item_reference": "It refers to a stored item and is replaced by that item before any item is read.",
    "configuration_update": "Set `reasoning` and `text` in the request whose turn they apply to.",
    "compaction_trigger": "Set `context_management` in the request, or call `POST /responses/compact`.",
}
"""Item types that no family has, and why."""

_TOLD: Final = ("name", "kind", "action_id", "arguments", "code", "output", "result", "results")


def read(item: Item) -> Sequence[Content]:
    """Describe the item in one line, with its non-empty fields."""
    kind = str(item.get("type"))
    told = [_told(item[name]) for name in _TOLD if item.get(name) is not None]
    text = " ".join(part for part in told if part)
    if len(text) > MAX_DESCRIPTION:
        text = f"{text[:MAX_DESCRIPTION]}…"
    return [Content.from_text(f"[{kind}: {text}]" if text else f"[{kind}]")]


def _told(value: Json) -> str:
    if isinstance(value, str):
        return wire_text(value)
    if (text := joined_texts(value, " ")) is not None:
        return wire_text(text)
    return wire_json(value)


PASSTHROUGH = Codec(
    family="passthrough",
    item_types={
        **{f"{tool}_call": "assistant" for tool in _TOOLS},
        **{f"{tool}_call_output": "assistant" for tool in _TOOLS},
        **dict.fromkeys(_OTHERS, "assistant"),
    },
    read=read,
    absent={
        "emit": "Agent Framework has no content for these items, so agents cannot return them.",
        "stream": "Agent Framework has no content for these items, so agents cannot return them.",
    },
    limits=(
        f"Of an item that Agent Framework does not know, the model sees the type and at most {MAX_DESCRIPTION:,} "
        "characters of its content.",
    ),
)
