"""Items to messages: history and input become one transcript that every provider's rules allow.

Providers demand that a call is answered, once, right after the message that makes it, and that no answer comes without
its call. Items may say otherwise: they interleave calls and answers, a caller may never have answered, an old history
may have lost a call. So calls are collected into the message that makes them, their results are placed directly after
it, a call without a result gets one that says so, and a result without a call becomes a text.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from agent_framework import Content, Message

from hostedagent.content import BY_ITEM
from hostedagent.errors import InvalidRequest
from hostedagent.request.turn import read_item
from hostedagent.types import Item

logger = logging.getLogger(__name__)

NO_RESULT = "[This call was never answered.]"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One item, read: who says it, and what."""

    role: str
    contents: Sequence[Content]
    author: str | None
    item_id: str | None
    param: str | None


def to_messages(history: Sequence[Item], new: Sequence[Item], *, trusts_roles: bool) -> list[Message]:
    """Build the transcript of a turn.

    Args:
        history: The conversation so far, oldest first.
        new: The input items of this turn; already checked, but a result must find its call here or in the history.
        trusts_roles: Whether system and developer messages of callers keep their role; otherwise they become the
            caller's own words.

    Returns:
        Messages, each with a `message_id` of its own.

    Raises:
        InvalidRequest: An input item answers a call that does not exist, or that was answered before.
    """
    entries = _read(history, new, trusts_roles)
    return [_stamped(message) for message in _fold(entries, _pair(entries))]


def check_answers(history: Sequence[Item], new: Sequence[Item]) -> None:
    """See that each result in the input answers a call that has no answer yet.

    Raises:
        InvalidRequest: One does not.
    """
    _pair(_read(history, new, trusts_roles=False))


def _read(history: Sequence[Item], new: Sequence[Item], trusts_roles: bool) -> list[_Entry]:
    answered = {item.get("call_id") for item in (*history, *new) if str(item.get("type")).endswith("_output")}
    entries = [
        _read_history(item, trusts_roles)
        for item in history
        if not _is_half_a_call(item) or item.get("call_id") in answered
    ]
    for n, item in enumerate(new):
        contents = cast("Sequence[Content]", read_item(item, f"input[{n}]"))
        entries.append(_entry(item, contents, trusts_roles, f"input[{n}]"))
    return entries


def _is_half_a_call(item: Item) -> bool:
    """Whether a call was cut off while its arguments came in: the model would have to answer for half a call."""
    return item.get("status") == "incomplete" and item.get("type") in ("function_call", "custom_tool_call")


def _read_history(item: Item, trusts_roles: bool) -> _Entry:
    """Read a stored item; one that cannot be read stands as a text that names it, and poisons nothing."""
    kind = item.get("type")
    codec = BY_ITEM.get(str(kind))
    try:
        contents = codec.read(item) if codec is not None and codec.read is not None else None
    except InvalidRequest:
        contents = None
    if contents is None:
        logger.warning("A stored item of type %r cannot be read; the model sees a placeholder.", kind)
        contents = [Content.from_text(f"[{kind} that this agent cannot read]")]
    return _entry(item, contents, trusts_roles, None)


def _entry(item: Item, contents: Sequence[Content], trusts_roles: bool, param: str | None) -> _Entry:
    kind = str(item.get("type"))
    codec = BY_ITEM.get(kind)
    role = codec.item_types[kind] if codec is not None else "assistant"
    if role == "own":
        role = _own_role(str(item.get("role", "assistant")), trusts_roles)
    author = item.get("agent_reference")
    name = cast("Item", author).get("name") if isinstance(author, dict) and role == "assistant" else None
    item_id = item.get("id")
    return _Entry(role, contents, name, item_id if isinstance(item_id, str) else None, param)


def _own_role(role: str, trusts_roles: bool) -> str:
    if role in ("system", "developer"):
        return "system" if trusts_roles else "user"
    return role


def _pair(entries: Iterable[_Entry]) -> dict[str, Content]:
    """Match results to calls; the first answer counts."""
    calls: set[str] = set()
    results: dict[str, Content] = {}
    for entry in entries:
        for content in entry.contents:
            call_id = content.call_id or ""
            if content.type == "function_call":
                calls.add(call_id)
            elif content.type == "function_result":
                _check_answer(call_id, entry, calls, results)
                if call_id in calls:
                    results.setdefault(call_id, content)
    return results


def _check_answer(call_id: str, entry: _Entry, calls: set[str], results: dict[str, Content]) -> None:
    if entry.param is None:
        return
    param = f"{entry.param}.call_id"
    if call_id not in calls:
        raise InvalidRequest(f"{param} {call_id!r} answers no function call of this conversation.", param=param)
    if call_id in results:
        raise InvalidRequest(f"{param} {call_id!r} was answered before.", param=param)


def _fold(entries: Iterable[_Entry], results: dict[str, Content]) -> Iterator[Message]:
    """Join what one author says in a row, and put the results behind the calls."""
    said: list[Content] = []
    first: _Entry | None = None
    answered: set[str] = set()
    for entry in entries:
        contents = [content for content in entry.contents if not _is_answered(content, results)]
        if not contents:
            # A result stands behind its call. What comes next is said after it, in a message of its own.
            if entry.role == "tool" and first is not None:
                yield from _flush(first, said, results, answered)
                said, first = [], None
            continue
        if first is not None and not _continues(first, entry):
            yield from _flush(first, said, results, answered)
            said, first = [], None
        first = first or entry
        said.extend(contents)
    if first is not None:
        yield from _flush(first, said, results, answered)


def _is_answered(content: Content, results: dict[str, Content]) -> bool:
    return content.type == "function_result" and content.call_id in results


def _continues(first: _Entry, entry: _Entry) -> bool:
    return entry.role == first.role == "assistant" and entry.author == first.author


def _flush(
    first: _Entry, said: Sequence[Content], results: dict[str, Content], answered: set[str]
) -> Iterator[Message]:
    role = first.role
    if role == "tool":  # Only results that found no call are left here.
        role, said = "user", [Content.from_text(f"[Output of an unknown call: {row.result}]") for row in said]
    said = _without_loose_end(said)
    if not said:
        return
    yield Message(role, list(said), author_name=first.author, message_id=first.item_id)
    outputs: list[Content] = []
    for content in said:
        if content.type == "function_call" and content.call_id and content.call_id not in answered:
            answered.add(content.call_id)
            result = results.get(content.call_id)
            outputs.append(result or Content.from_function_result(content.call_id, result=NO_RESULT))
    if outputs:
        yield Message("tool", outputs)


_UNSENT: Final = frozenset(
    {
        *("text_reasoning", "search_tool_call", "search_tool_result"),
        *("code_interpreter_tool_call", "code_interpreter_tool_result"),
        *("image_generation_tool_call", "image_generation_tool_result"),
    }
)
"""Reasoning, and what model clients leave out of a request."""


def _without_loose_end(said: Sequence[Content]) -> Sequence[Content]:
    """Drop reasoning that came to nothing, as when a turn was cut short: providers refuse it without what follows."""
    end = len(said)
    while end and said[end - 1].type in _UNSENT:
        end -= 1
    return [*said[:end], *(content for content in said[end:] if content.type != "text_reasoning")]


def _stamped(message: Message) -> Message:
    """A message of its own: Agent Framework drops a repeat without an id as a duplicate of the earlier one."""
    if not message.message_id:
        message.message_id = f"msg_{uuid.uuid4().hex}"
    return message
