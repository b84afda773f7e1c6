"""The grammar of a Responses event stream: every event type, where it may occur, and which values must agree.

`EVENTS` is the whole table. A `channel` is text that arrives in deltas, is repeated whole by a `done` event and must be
equal in the finished part and item. `Grammar` reads one event after another and raises at the first violation; it is
independent of the transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Event: TypeAlias = Mapping[str, Any]
Kind = Literal["snapshot", "terminal", "error", "item", "part", "text", "note", "step", "image", "loose"]
Edge = Literal["open", "delta", "done"]


class Rule(Struct, frozen=True):
    """The rule of one event type."""

    kind: Kind
    parents: tuple[str, ...] = ()
    """Item types the event may occur in; for `part` and `text` in a part, `item/part` pairs; empty: no parent."""
    edge: Edge = "delta"
    field: str = ""
    """Of `text`: the field of the `done` event with the whole value."""
    channel: str = ""
    """Of `text`: the name that delta and done share. Of `step`: the item's own progress."""
    index: str = ""
    """Of `text`, `part` and `note`: the field that counts within the item."""
    rank: int = 0
    """Of `step`: steps of one item never go back to a lower rank."""
    has_item_id: bool = True


def _text(prefix: str, channel: str, parents: tuple[str, ...], field: str, **more: Any) -> dict[str, Rule]:
    return {
        f"{prefix}.delta": Rule("text", parents, "delta", field, channel, **more),
        f"{prefix}.done": Rule("text", parents, "done", field, channel, **more),
    }


def _steps(prefix: str, parent: str, *ranked: tuple[str, ...]) -> dict[str, Rule]:
    return {
        f"{prefix}.{step}": Rule("step", (parent,), channel=step, rank=rank)
        for rank, steps in enumerate(ranked)
        for step in steps
    }


SHELL = ("shell_call", "local_shell_call")
SHELL_OUTPUT = ("shell_call_output", "local_shell_call_output")

EVENTS: dict[str, Rule] = {
    "response.created": Rule("snapshot"),
    "response.queued": Rule("snapshot", rank=1),
    "response.in_progress": Rule("snapshot", rank=2),
    "response.completed": Rule("terminal", channel="completed"),
    "response.failed": Rule("terminal", channel="failed"),
    "response.incomplete": Rule("terminal", channel="incomplete"),
    "error": Rule("error"),
    "response.output_item.added": Rule("item", edge="open"),
    "response.output_item.done": Rule("item", edge="done"),
    "response.content_part.added": Rule(
        "part", ("message/output_text", "message/refusal", "reasoning/reasoning_text"), "open", index="content_index"
    ),
    "response.content_part.done": Rule(
        "part", ("message/output_text", "message/refusal", "reasoning/reasoning_text"), "done", index="content_index"
    ),
    "response.reasoning_summary_part.added": Rule("part", ("reasoning/summary_text",), "open", index="summary_index"),
    "response.reasoning_summary_part.done": Rule("part", ("reasoning/summary_text",), "done", index="summary_index"),
    "response.output_text.annotation.added": Rule("note", ("message/output_text",), index="content_index"),
    **_text("response.output_text", "output_text", ("message/output_text",), "text", index="content_index"),
    **_text("response.refusal", "refusal", ("message/refusal",), "refusal", index="content_index"),
    **_text("response.reasoning_text", "reasoning_text", ("reasoning",), "text", index="content_index"),
    **_text(
        "response.reasoning_summary_text", "summary_text", ("reasoning/summary_text",), "text", index="summary_index"
    ),
    **_text("response.function_call_arguments", "arguments", ("function_call",), "arguments"),
    **_text("response.mcp_call_arguments", "arguments", ("mcp_call",), "arguments"),
    **_text("response.custom_tool_call_input", "input", ("custom_tool_call",), "input"),
    **_text("response.code_interpreter_call_code", "code", ("code_interpreter_call",), "code"),
    "response.shell_call_command.added": Rule(
        "text", SHELL, "open", "command", "command", index="command_index", has_item_id=False
    ),
    **_text("response.shell_call_command", "command", SHELL, "command", index="command_index", has_item_id=False),
    "response.shell_call_output_content.delta": Rule("loose", SHELL_OUTPUT),
    "response.shell_call_output_content.done": Rule("loose", SHELL_OUTPUT),
    "response.audio.delta": Rule("loose"),
    "response.audio.done": Rule("loose"),
    "response.audio.transcript.delta": Rule("loose"),
    "response.audio.transcript.done": Rule("loose"),
    "response.image_generation_call.partial_image": Rule("image", ("image_generation_call",), rank=1),
    **_steps(
        "response.image_generation_call", "image_generation_call", ("in_progress",), ("generating",), ("completed",)
    ),
    **_steps("response.web_search_call", "web_search_call", ("in_progress",), ("searching",), ("completed",)),
    **_steps("response.file_search_call", "file_search_call", ("in_progress",), ("searching",), ("completed",)),
    **_steps(
        "response.code_interpreter_call",
        "code_interpreter_call",
        ("in_progress",),
        ("interpreting",),
        ("completed",),
    ),
    **_steps("response.mcp_call", "mcp_call", ("in_progress",), ("completed", "failed")),
    **_steps("response.compaction", "compaction", ("compacting",)),
    **_steps("response.mcp_list_tools", "mcp_list_tools", ("in_progress",), ("completed", "failed")),
}

TERMINAL_STATUSES: dict[str, tuple[str, ...]] = {
    "response.completed": ("completed",),
    # The SDK has no event for a cancelled response: it ends one with `response.failed` and this status.
    "response.failed": ("failed", "cancelled"),
    "response.incomplete": ("incomplete",),
}
