"""What the Chat Completions API demands of `messages`."""

from __future__ import annotations

from typing import cast

from .arguments import check_arguments
from .broken import Json, Ledger, broken, first_repeated

CONTENT_TYPES = {
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "system": {"text"},
    "developer": {"text"},
    "tool": {"text"},
}


def check_chat_completions(body: Json, ledger: Ledger | None = None) -> None:
    """Raise `BrokenRuleError` when the API would refuse the request's transcript."""
    messages = cast("list[Json]", body.get("messages") or [])
    if not messages:
        broken("a request has messages", "[] is too short - 'messages'")
    calls: list[Json] = []
    for index, message in enumerate(messages):
        _check_content(message, index)
        made = cast("list[Json]", message.get("tool_calls") or [])
        if "tool_calls" in message and not made:
            broken("tool_calls are left out rather than empty", f"[] is too short - 'messages.{index}.tool_calls'")
        for call in made:
            check_arguments(call["id"], call["function"]["arguments"], ledger or Ledger())
        calls += made
        _check_answers(messages, index, made)
    if repeated := first_repeated(call["id"] for call in calls):
        broken("call ids are unique", f"Duplicate value for 'tool_call_id' of {repeated!r}")
    _check_orphans(messages)


def _check_answers(messages: list[Json], index: int, calls: list[Json]) -> None:
    answered: list[str] = []
    for message in messages[index + 1 :]:
        if message["role"] != "tool":
            break
        answered.append(message["tool_call_id"])
    missing = [call["id"] for call in calls if call["id"] not in answered]
    if missing:
        broken(
            "every tool call is answered at once",
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(missing)}",
        )
    if calls and (repeated := first_repeated(answered)):
        broken("a tool call is answered once", f"Duplicate value for 'tool_call_id' of {repeated!r} in messages")


def _check_orphans(messages: list[Json]) -> None:
    open_ids: set[str] = set()
    for message in messages:
        if message["role"] != "tool":
            open_ids = {call["id"] for call in cast("list[Json]", message.get("tool_calls") or [])}
        elif message["tool_call_id"] not in open_ids:
            broken(
                "a tool message answers a call",
                "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            )


def _check_content(message: Json, index: int) -> None:
    role, content = message["role"], message.get("content")
    if role not in CONTENT_TYPES:
        broken("roles are known", f"Invalid value: '{role}' - 'messages.{index}.role'")
    if isinstance(content, list):
        for part in cast("list[Json]", content):
            if part["type"] not in CONTENT_TYPES[role]:
                broken("content types fit the role", f"Invalid content type {part['type']!r} for {role!r}.")
    may_be_empty = role == "tool" or bool(message.get("tool_calls")) or bool(message.get("refusal"))
    if not content and not may_be_empty:
        broken("messages are not empty", f"Invalid value for 'content': expected a string - 'messages.{index}.content'")
