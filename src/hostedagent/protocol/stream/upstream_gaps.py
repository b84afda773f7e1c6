"""What a model client reads from its service and leaves out of its updates, though the event is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import Content

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


# OpenAI's client reads a code interpreter call when it begins, where it has no outputs yet, and not when it is done.
# Can go when it reads `response.output_item.done` of such a call (no issue of it is known upstream).
def left_out(update: AgentResponseUpdate) -> Sequence[Content]:
    """The contents that an update without any should have had."""
    raw = update.raw_representation
    event = getattr(raw, "raw_representation", raw)
    if getattr(event, "type", None) != "response.output_item.done":
        return ()
    item = cast("Any", getattr(event, "item", None))
    if getattr(item, "type", None) != "code_interpreter_call" or not item.outputs:
        return ()
    outputs = [
        Content.from_text(row.logs) if row.type == "logs" else Content.from_uri(row.url, media_type="image/*")
        for row in item.outputs
    ]
    result = Content.from_code_interpreter_tool_result(
        call_id=item.id, outputs=outputs, status=item.status, raw_representation=item
    )
    return (result,)
