"""Replaces what a model client of Agent Framework would silently drop with a line of text.

Each client sends the files and the calls of hosted tools that its service supports and drops the others. The model
would then answer a question about a file that it never got, or get no question at all.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from agent_framework import ChatContext, ChatMiddleware, Content, Message, get_namespaced_value

from hostedagent.observability.metrics import count_left_out
from hostedagent.protocol.json import decode_text
from hostedagent.protocol.transcript.text_files import text_of
from hostedagent.protocol.wire import wire_json, wire_text

logger = logging.getLogger(__name__)

CanSend: TypeAlias = Callable[[Content, bool], bool]
"""Whether a client sends a content; the second argument says whether it is in the output of a tool."""

_FILES: Final = frozenset({"data", "uri", "hosted_file"})
_OPENAI_TOOLS: Final = frozenset({"computer_tool_call", "computer_tool_result", "shell_tool_call", "shell_tool_result"})
_MCP_TOOLS: Final = frozenset({"mcp_server_tool_call", "mcp_server_tool_result"})
_NOT_ALWAYS_SENT: Final = _FILES | _OPENAI_TOOLS | _MCP_TOOLS | {"text_reasoning"}
_LONGEST_LINE: Final = 2_000
"""Characters that a model reads of a call or its result that its client cannot send."""
_AUDIO: Final = ("audio/wav", "audio/x-wav", "audio/mp3", "audio/mpeg")


def _kind(content: Content) -> str:
    return (content.media_type or "").partition("/")[0].lower()


def _is_audio(content: Content) -> bool:
    return content.type == "data" and (content.media_type or "").partition(";")[0].lower() in _AUDIO


def _chat_completions(content: Content, is_output: bool) -> bool:
    if content.type == "text_reasoning":
        return _is_json(content.protected_data)
    if content.type in _OPENAI_TOOLS | _MCP_TOOLS:
        return False
    if is_output or content.type == "hosted_file":
        return False
    return _kind(content) == "image" or _is_audio(content) or (_kind(content) == "application" and _is_inline(content))


def _is_inline(content: Content) -> bool:
    return (content.uri or "").startswith("data:")


def _is_json(protected: str | None) -> bool:
    """Whether the client can parse the protected form of reasoning; that of other clients is not JSON."""
    if protected is None:
        return True
    try:
        decode_text(protected)
    except ValueError:
        return False
    return True


def _anthropic(content: Content, is_output: bool) -> bool:
    if content.type == "text_reasoning":  # OpenAI's has an id or is JSON; this service has signed neither.
        return not content.id and (content.protected_data is None or not _is_json(content.protected_data))
    if content.type not in _FILES:
        return content.type not in _OPENAI_TOOLS
    return content.type != "hosted_file" and _kind(content) == "image"


def _responses(content: Content, is_output: bool) -> bool:
    if content.type not in _FILES:
        return True
    if content.type == "hosted_file" or _kind(content) in ("image", "application") or _is_audio(content):
        return True
    return get_namespaced_value(content.additional_properties, "openai", "content_type") == "input_file"


def _responses_without_rich_outputs(content: Content, is_output: bool) -> bool:
    return not is_output and _responses(content, is_output)


_CLIENTS: Final[Mapping[str, CanSend]] = {
    "RawOpenAIChatCompletionClient": _chat_completions,
    "RawAnthropicClient": _anthropic,
    "RawOpenAIChatClient": _responses,
}
"""Class that builds a client's requests, to what it sends."""


_USER_SPEAKS_FIRST: Final = frozenset({"RawAnthropicClient"})
"""Classes of the clients whose service refuses a conversation that the assistant begins."""
_BEGINNING: Final = "[The conversation begins with the assistant.]"


def can_send(client: object) -> CanSend | None:
    """The content that a client sends; `None` for an unknown client, which gets everything."""
    known = _known(type(client))
    if known is _responses and getattr(client, "SUPPORTS_RICH_FUNCTION_OUTPUT", True) is False:
        return _responses_without_rich_outputs
    return known


@lru_cache(maxsize=64)
def _known(kind: type) -> CanSend | None:
    return next((_CLIENTS[base.__name__] for base in kind.__mro__ if base.__name__ in _CLIENTS), None)


def may_change(client: object, messages: Sequence[Message]) -> bool:
    """Whether the messages of a run may have to be changed for its client."""
    return _lacks_user(client, messages) is not None or _may_be_dropped(messages)


def _may_be_dropped(messages: Iterable[Message]) -> bool:
    """Whether any message holds a content that some client drops."""
    contents = [content for message in messages for content in message.contents]
    return any(row.type in _NOT_ALWAYS_SENT for content in contents for row in (content, *(content.items or ())))


def led_by_user(client: object, messages: Sequence[Message]) -> Sequence[Message]:
    """The messages, with a line of the user in front of an assistant that begins if the service demands it."""
    place = _lacks_user(client, messages)
    if place is None:
        return messages
    return [*messages[:place], Message("user", [_BEGINNING]), *messages[place:]]


def _lacks_user(client: object, messages: Sequence[Message]) -> int | None:
    """The index of the assistant's message that begins a conversation; `None` if the client may send it."""
    if all(base.__name__ not in _USER_SPEAKS_FIRST for base in type(client).__mro__):
        return None
    place = next((n for n, message in enumerate(messages) if message.role != "system"), None)
    return place if place is not None and messages[place].role == "assistant" else None


def sendable(message: Message, can: CanSend) -> Message:
    """The message with a line of text for each content that would be dropped; the same message if there is none."""
    is_said = message.role == "assistant"  # Files of an assistant are already named in its own text.
    rows = [content if is_said and content.type in _FILES else _sendable(content, can) for content in message.contents]
    contents = [row for row in rows if row is not None]
    if len(contents) == len(rows) and all(new is old for new, old in zip(contents, message.contents, strict=True)):
        return message
    changed = copy.copy(message)
    changed.contents = contents
    return changed


def _sendable(content: Content, can: CanSend) -> Content | None:
    """The content or its replacement; `None` for reasoning, which only the service that created it can use."""
    if content.type in _NOT_ALWAYS_SENT:
        if can(content, False):
            return content
        if content.type == "text_reasoning":
            return None
        return _replacement(content) if content.type in _FILES else _tool_line(content)
    items = content.items if content.type == "function_result" else None
    if not items or all(row.type not in _FILES or can(row, True) for row in items):
        return content
    changed = copy.copy(content)
    changed.items = [row if row.type not in _FILES or can(row, True) else _replacement(row) for row in items]
    changed.result = "\n".join(row.text or "" for row in changed.items if row.type == "text")
    return changed


def _replacement(content: Content) -> Content:
    """The text of a text file, or a line that describes the file."""
    text = text_of(content) if content.type == "data" else None
    if text is not None:
        return text
    count_left_out("placeholder", content.type)
    logger.warning("A model client cannot send a file of type %r; the model sees a line instead.", content.media_type)
    # On lines of its own: clients join adjacent texts without a separator.
    return Content.from_text(f"\n[{_describe(content)}: this agent's model cannot be given such a file]\n")


def _tool_line(content: Content) -> Content:
    """A line that describes a tool call or its result."""
    count_left_out("placeholder", content.type)
    match content.type:
        case "computer_tool_call":
            what: object = [dict(action) for action in content.actions or ()]
        case "shell_tool_call":
            what = content.commands
        case "shell_tool_result":
            outputs: Sequence[Content] = content.outputs or ()
            what = "\n".join(text for row in outputs for text in (row.stdout, row.stderr) if text)
        case "mcp_server_tool_call":
            given = content.arguments or {}
            what = f"{content.tool_name} {given if isinstance(given, str) else wire_json(given)}"
        case "mcp_server_tool_result":
            what = content.output
        case _:
            what = "a screenshot that this agent's model cannot be given"
    said = what if isinstance(what, str) else wire_json(what)
    kind = content.type.replace("_tool_", " ").replace("_", " ")
    return Content.from_text(f"\n[{kind}: {wire_text(said[:_LONGEST_LINE])}]\n")


def _describe(content: Content) -> str:
    kind = _kind(content)
    what = kind if kind in ("image", "audio", "video") else "file"
    place = content.uri if content.type == "uri" else content.file_id if content.type == "hosted_file" else None
    details = [content.media_type if (content.media_type or "").rpartition("/")[2] not in ("", "*") else None, place]
    named = " ".join(filter(None, (what, content.name)))
    known = ", ".join(filter(None, details))
    return wire_text(f"{named} ({known})" if known else named)


class Sendable(ChatMiddleware):
    """Chat middleware that replaces what the client would drop, also in tool results."""

    async def process(self, context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        """Replace the messages of one model call without changing those of the conversation."""
        can = can_send(context.client)
        if can is not None:
            given = context.messages
            messages = [sendable(message, can) for message in given]
            for new, old in zip(messages, given, strict=True):
                if new is not old:
                    context.record_message_replacement(new, old)
            context.messages = [*led_by_user(context.client, messages)]
        await call_next()


SENDABLE: Final = Sendable()
"""Shared by all runs: Agent Framework caches its preparation per middleware instance. Agents that a workflow hides from
the host get it from their developer."""
