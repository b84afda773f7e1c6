"""Converts items to messages: history and input are read item by item and become one transcript.

See `reading.py` for unreadable items, `approvals.py` for approvals and `tool_pairing.py` for the rules of providers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent_framework import Content, Message

from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.content.own_calls import OwnCalls, function_items
from hostedagent.protocol.stream.interrupted import is_cut_off
from hostedagent.protocol.transcript.approvals import NO_ANSWERS, Answered, settle_questions
from hostedagent.protocol.transcript.reading import ItemReader
from hostedagent.protocol.transcript.text_files import with_text_files
from hostedagent.protocol.transcript.tool_pairing import Entry, Fold, Paired, pair
from hostedagent.protocol.types import Item, answered_calls
from hostedagent.protocol.values import fields_of


class Transcript(NamedTuple):
    """A conversation in two parts."""

    history: list[Message]
    input: list[Message]


def to_messages(
    history: Sequence[Item],
    new: Sequence[Item],
    *,
    trusts_roles: bool,
    answered: Answered = NO_ANSWERS,
    is_whole: bool = True,
    resumes: frozenset[str] | None = None,
    made: Sequence[Item] = (),
    instructions: str | None = None,
    reader: ItemReader | None = None,
) -> list[Message]:
    """Build the transcript of a turn.

    Args:
        history: The conversation so far, oldest first.
        new: The input items of this turn; already validated, except that a result must have its call here or in the
            history.
        trusts_roles: Whether system and developer messages of callers keep their role; otherwise they become user
            messages.
        is_whole: Whether the transcript contains all calls. If another service keeps the conversation, it does not,
            and results need no call.
        resumes: The names of the caller's tools if a session is resumed: Agent Framework then runs the agent's own
            calls that were made in parallel with a call that the input answers. `None` if there is none to resume.
        made: The output of this turn before it was interrupted.
        instructions: The caller's instructions for this turn: a system message of the caller in front of everything.
        reader: Reads the items; by default, a new one.

    Returns:
        Messages, each with its own `message_id`.

    Raises:
        InvalidRequest: An input item answers a call that does not exist, or that was answered before.
    """
    entries = settle_questions(_read(reader or ItemReader(), history, new, trusts_roles, made), answered)
    entries = [*_instruct(instructions, trusts_roles), *entries]
    entries, results = pair(entries) if is_whole else Paired(entries, {})
    fold = Fold(results, is_whole, _answered_calls(entries), resumes)
    return list(fold.messages(entries))


def split_messages(
    history: Sequence[Item],
    new: Sequence[Item],
    *,
    trusts_roles: bool,
    answered: Answered = NO_ANSWERS,
    resumes: frozenset[str] | None = None,
    made: Sequence[Item] = (),
    first_new: int = 0,
    instructions: str | None = None,
    reader: ItemReader | None = None,
) -> Transcript:
    """Build the transcript of a turn, divided into history and new messages.

    A result of a call in the middle of the history belongs to the history.

    Args:
        history: As for `to_messages`.
        new: As for `to_messages`.
        trusts_roles: As for `to_messages`.
        answered: As for `to_messages`.
        resumes: As for `to_messages`.
        made: As for `to_messages`; part of this turn.
        first_new: The first item of `new` that this turn adds; those before it are the caller's copy of the history.
        instructions: As for `to_messages`; in front of the history.
        reader: As for `to_messages`.

    Raises:
        InvalidRequest: As for `to_messages`.
    """
    entries = settle_questions(_read(reader or ItemReader(), history, new, trusts_roles, made, first_new), answered)
    entries = [*_instruct(instructions, trusts_roles), *entries]
    entries, results = pair(entries)
    fold = Fold(results, True, _answered_calls(entries), resumes, is_split=True)
    messages = list(fold.messages(entries))
    start = _first_new(messages, entries)
    return Transcript(messages[:start], messages[start:])


def instruction_messages(instructions: str | None, trusts_roles: bool) -> list[Message]:
    """The caller's instructions as the first message of a transcript."""
    return [Message(entry.role, list(entry.contents)) for entry in _instruct(instructions, trusts_roles)]


def _instruct(instructions: str | None, trusts_roles: bool) -> list[Entry]:
    if not instructions:
        return []
    return [Entry(_own_role("system", trusts_roles), [Content.from_text(instructions)], None, None, None)]


def _first_new(messages: Sequence[Message], entries: Sequence[Entry]) -> int:
    """The index of the first message that contains only new items of this turn."""
    origins = {id(content): entry.is_new for entry in entries for content in entry.contents}
    start, is_new = 0, False
    for n, message in enumerate(messages):
        found = [origins[id(content)] for content in message.contents if id(content) in origins]
        is_new = any(found) if found else is_new  # A placeholder result belongs to the message before it.
        if not is_new:
            start = n + 1
    return start


def _answered_calls(entries: Sequence[Entry]) -> frozenset[str]:
    new = (content for entry in entries if entry.param is not None for content in entry.contents)
    return frozenset(content.call_id or "" for content in new if content.type == "function_result")


def check_answers(history: Sequence[Item], new: Sequence[Item], reader: ItemReader) -> tuple[Item, ...]:
    """Check that each result in the input answers a call that has no answer yet.

    Returns:
        The input without calls that the conversation already has: callers repeat them before their results.

    Raises:
        InvalidRequest: A result answers no call, or a call of the input has the id of another open call.
    """
    entries = settle_questions(_read(reader, history, new, trusts_roles=False), NO_ANSWERS)
    repeats = {
        before.param
        for before, after in zip(entries, pair(entries).entries, strict=True)
        if len(after.contents) < len(before.contents)
    }
    return tuple(item for n, item in enumerate(new) if f"input[{n}]" not in repeats)


def _read(
    reader: ItemReader,
    history: Sequence[Item],
    new: Sequence[Item],
    trusts_roles: bool,
    made: Sequence[Item] = (),
    first_new: int = 0,
) -> list[Entry]:
    calls = OwnCalls()
    history = [item for _, item in calls.items(history)] if history else ()
    numbered = list(calls.items(new))
    made = function_items(made) if made else ()
    items = (*history, *(item for _, item in numbered), *made)
    answered = answered_calls(items)

    entries: list[Entry] = []

    def add_stored(items: Sequence[Item], *, is_new: bool) -> None:
        for item in items:
            if not is_cut_off(item) and (not _is_half_a_call(item) or item.get("call_id") in answered):
                entry = _entry(item, reader.read_stored(item), trusts_roles, None, is_new=is_new)
                _add(entries, entry, reader.opened(item))

    add_stored(history, is_new=False)
    for n, item in numbered:
        param = f"input[{n}]"
        entry = _entry(item, reader.read_input(item, param), trusts_roles, param, is_new=n >= first_new)
        _add(entries, entry, reader.opened(item))
    add_stored(made, is_new=True)
    return entries


def _add(entries: list[Entry], entry: Entry, stands_for: Sequence[Message] | None) -> None:
    """Add an item. A compaction item replaces everything before it except system messages."""
    if stands_for is None:
        entries.append(entry)
        return
    left = [Entry(row.role, row.contents, row.author_name, None, None, entry.is_new) for row in stands_for]
    entries[:] = [*(earlier for earlier in entries if earlier.role == "system"), *left]


def _is_half_a_call(item: Item) -> bool:
    """Whether the arguments of a call were cut off, so that it must not be in a prompt."""
    return item.get("status") == "incomplete" and item.get("type") in ("function_call", "custom_tool_call")


def _entry(
    item: Item, contents: Sequence[Content], trusts_roles: bool, param: str | None, *, is_new: bool = False
) -> Entry:
    kind = str(item.get("type"))
    codec = BY_ITEM.get(kind)
    role = codec.item_types[kind] if codec is not None else "assistant"
    if role == "own":
        role = _own_role(str(item.get("role", "assistant")), trusts_roles)
    name = fields_of(item.get("agent_reference")).get("name") if role == "assistant" else None
    item_id = item.get("id")
    found = with_text_files(contents)
    return Entry(role, found, name, item_id if isinstance(item_id, str) else None, param, is_new)


def _own_role(role: str, trusts_roles: bool) -> str:
    if role in ("system", "developer"):
        return "system" if trusts_roles else "user"
    return role
