"""Restores contents that a model client omits from its updates although the service sent them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import Content

from hostedagent.errors import foreign_attribute

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


# OpenAI's client reads a code interpreter call when it starts, without outputs, and not when it is done.
# Can go when it reads `response.output_item.done` of such a call (no issue of it is known upstream).
def left_out(update: AgentResponseUpdate) -> Sequence[Content]:
    """The contents that an empty update should have had."""
    raw = update.raw_representation
    event = foreign_attribute(raw, "raw_representation") or raw
    if not _is(foreign_attribute(event, "type"), "response.output_item.done"):
        return ()
    item = cast("Any", foreign_attribute(event, "item"))
    if not _is(foreign_attribute(item, "type"), "code_interpreter_call") or not foreign_attribute(item, "outputs"):
        return ()
    try:
        outputs = [
            Content.from_text(row.logs) if row.type == "logs" else Content.from_uri(row.url, media_type="image/*")
            for row in item.outputs
        ]
        result = Content.from_code_interpreter_tool_result(
            call_id=item.id, outputs=outputs, status=item.status, raw_representation=item
        )
    except Exception:  # noqa: BLE001 - not such a call, whatever its type
        return ()
    return (result,)


def _is(value: object, text: str) -> bool:
    return isinstance(value, str) and value == text
