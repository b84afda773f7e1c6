"""Folds entries into messages that satisfy every provider's rules for tool calls.

Providers require exactly one result for each call, right after the message that makes it, and no result without a call.
Calls are therefore collected into the message that makes them and followed by their results; a call without a result
gets a placeholder, and a result without a call becomes text.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from agent_framework import Content, Message, get_namespaced_value
from msgspec import Struct, field

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.json import decode_text

NO_RESULT: Final = "[This call was never answered.]"


_USABLE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,61}")
"""Call ids that every provider accepts: Anthropic limits the characters, OpenAI the length."""

_LONGEST_STEM: Final = 52


class Entry(NamedTuple):
    """One item as read: its role, contents and origin. A tuple, because every turn reads the whole conversation."""

    role: str
    contents: Sequence[Content]
    author: str | None
    item_id: str | None
    param: str | None
    is_new: bool = False


Results: TypeAlias = Mapping[str, Content]
"""The result of each call that has one, by its call id."""


class Paired(NamedTuple):
    """A transcript in which each call has a unique id.

    Args:
        entries: The items, without repeated calls.
    """

    entries: Sequence[Entry]
    results: Results


def pair(entries: Iterable[Entry]) -> Paired:
    """Match results to calls: a result answers the latest open call of its id, and the first result counts.

    A repeated open call with the same name and arguments is the same call: callers send it before its output although
    the conversation has it. Some model services reuse the id of an answered call; it is made unique, because others
    reject a second call of the same id.

    Raises:
        InvalidRequest: A result of the input answers no call or an answered one, or a call of the input has the id of a
            different open call.
    """
    pairing = _Pairing()
    paired = [
        entry._replace(contents=list(pairing.take(entry))) if _is_paired(entry.contents) else entry for entry in entries
    ]
    return Paired(paired, pairing.results)


def _is_paired(contents: Sequence[Content]) -> bool:
    for content in contents:  # A loop: a generator costs more than what it asks.
        if content.type in ("function_call", "function_result"):
            return True
    return False


class _Pairing:
    """Follows the calls of a transcript, in its order."""

    def __init__(self) -> None:
        self.results: dict[str, Content] = {}
        self._counts: Counter[str] = Counter()
        self._open: dict[str, list[Content]] = {}

    def take(self, entry: Entry) -> Iterator[Content]:
        for content in entry.contents:
            if content.type == "function_call":
                yield from self._call(content, entry)
            elif content.type == "function_result":
                yield self._result(content, entry)
            else:
                yield content

    def _call(self, call: Content, entry: Entry) -> Iterator[Content]:
        call, call_id = _with_object(call), call.call_id or ""
        waiting = self._open.setdefault(call_id, [])
        if waiting and _is_same_call(waiting[-1], call):
            return
        if waiting and entry.param is not None:
            param = f"{entry.param}.call_id"
            raise InvalidRequest(
                f"{param} {call_id!r} is the id of another call that has no output yet. Send its output first, or give "
                "this call an id of its own.",
                param=param,
            )
        self._counts[call_id] += 1
        distinct = _with_id(call, call_id, self._counts[call_id])
        waiting.append(distinct)
        yield distinct

    def _result(self, result: Content, entry: Entry) -> Content:
        call_id = result.call_id or ""
        waiting = self._open.get(call_id)
        if not waiting:
            self._check_answer(call_id, entry)
            return result
        call = waiting.pop()
        if call.call_id != call_id:
            result = _with_call_id(result, call.call_id or "")
        self.results[call.call_id or ""] = result
        return result

    def _check_answer(self, call_id: str, entry: Entry) -> None:
        if entry.param is None:
            return
        param = f"{entry.param}.call_id"
        if self._counts[call_id]:
            raise InvalidRequest(f"{param} {call_id!r} was answered before.", param=param)
        raise InvalidRequest(f"{param} {call_id!r} answers no function call of this conversation.", param=param)


def _is_same_call(call: Content, other: Content) -> bool:
    return call.name == other.name and _arguments(call) == _arguments(other)


def _arguments(call: Content) -> object:
    """The arguments as a value, because the same JSON may be written in several ways."""
    arguments: object = call.arguments
    if not isinstance(arguments, str):
        return arguments
    try:
        return decode_text(arguments)
    except ValueError:
        return arguments


def _with_id(call: Content, call_id: str, count: int) -> Content:
    """The call with an id that every provider accepts and no earlier call has."""
    ident = call_id
    if not _USABLE_ID.fullmatch(call_id):
        ident = f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:40]}"
    if count > 1:
        ident = f"{ident[:_LONGEST_STEM]}_{count}"
    return call if ident == call_id else _with_call_id(call, ident)


def _with_object(call: Content) -> Content:
    """The call with an object for its arguments, which every service asks for.

    Clients send the call of a custom tool, which has a text, as that of a function. A model may have written anything.
    """
    is_custom = get_namespaced_value(call.additional_properties, "openai", "item_type") == "custom_tool_call"
    if not is_custom and (not call.arguments or isinstance(_arguments(call), dict)):
        return call
    call = copy.copy(call)
    call.arguments = json.dumps({"input" if is_custom else "raw": call.arguments}, ensure_ascii=False)
    return call


def _with_call_id(content: Content, call_id: str) -> Content:
    content = copy.copy(content)
    content.call_id = call_id
    return content


class Fold(Struct):
    """Folds entries into messages, each with an id: Agent Framework drops equal messages without ids as duplicates.

    Args:
        is_whole: Whether the transcript contains all calls; otherwise results need no call.
        new_calls: The ids of the calls that the input answers.
        resumes: The names of the caller's tools, if Agent Framework runs the agent's own calls that were made in
            parallel with a call that the input answers; `None` if it does not.
        is_split: Whether no message joins an item of this turn to one of an earlier turn.
    """

    results: Results
    is_whole: bool = True
    new_calls: frozenset[str] = frozenset()
    resumes: frozenset[str] | None = None
    is_split: bool = False
    _ids: Iterator[str] = field(default_factory=lambda: _message_ids())

    def messages(self, entries: Iterable[Entry]) -> Iterator[Message]:
        """Join consecutive entries of one author, and place results after their calls."""
        said: list[Content] = []
        first: Entry | None = None
        for entry in entries:
            contents = [row for row in entry.contents if not is_empty(row) and not self._is_placed(row)]
            # A result follows its call; later entries start a new message.
            ends = not contents and entry.role == "tool"
            if first is not None and (ends or (contents and not self._continues(first, entry))):
                yield from self._flush(first, said)
                said, first = [], None
            if contents:
                first = first or entry
                said.extend(contents)
        if first is not None:
            yield from self._flush(first, said)

    def _continues(self, first: Entry, entry: Entry) -> bool:
        if self.is_split and entry.is_new != first.is_new:
            return False
        # Clients send messages back without their author, but reasoning with it.
        is_same_author = entry.author == first.author or entry.author is None or first.author is None
        return entry.role == first.role == "assistant" and is_same_author

    def _is_placed(self, content: Content) -> bool:
        return bool(self.results) and content.type == "function_result" and content.call_id in self.results

    def _flush(self, first: Entry, said: Sequence[Content]) -> Iterator[Message]:
        role = first.role
        if role == "tool" and self.is_whole:  # Only results without a call are left here.
            role, said = "user", [Content.from_text(f"[Output of an unknown call: {row.result}]") for row in said]
        said = _without_loose_end(said)
        if not said:
            return
        yield Message(role, list(said), author_name=first.author, message_id=first.item_id or next(self._ids))
        calls = [content for content in said if content.type == "function_call" and content.call_id]
        if calls and (outputs := list(self._outputs(calls, said))):
            yield Message("tool", outputs, message_id=next(self._ids))

    def _outputs(self, calls: Sequence[Content], said: Sequence[Content]) -> Iterator[Content]:
        """The results of the calls in a message; calls that Agent Framework will run are left open."""
        waits = not self.is_whole or any(content.type == "function_approval_request" for content in said)
        resumes = self.resumes if any(call.call_id in self.new_calls for call in calls) else None
        for call in calls:
            call_id = call.call_id or ""
            if (result := self.results.get(call_id)) is not None:
                yield result
            elif not waits and (resumes is None or call.name in resumes):
                yield _no_result(call)


def _no_result(call: Content) -> Content:
    """The placeholder for a missing result, which clients send as the type of output that the call needs."""
    call_id = call.call_id or ""
    kind = get_namespaced_value(call.additional_properties, "openai", "shell_output_type")
    openai = {"shell_output_type": kind, "local_shell_call_item_id": call_id}
    properties = {"openai": openai} if kind else None
    return Content.from_function_result(call_id, result=NO_RESULT, additional_properties=properties)


def _message_ids() -> Iterator[str]:
    prefix = f"msg_{os.urandom(16).hex()}_"
    return (f"{prefix}{n}" for n in itertools.count())


def is_empty(content: Content) -> bool:
    """Whether a content is empty text, which providers reject."""
    return content.type == "text" and not content.text


_UNSENT: Final = frozenset(
    {
        *("text_reasoning", "search_tool_call", "search_tool_result"),
        *("code_interpreter_tool_call", "code_interpreter_tool_result"),
        *("image_generation_tool_call", "image_generation_tool_result"),
    }
)
"""Reasoning, and what model clients leave out of a request."""


def _without_loose_end(said: Sequence[Content]) -> Sequence[Content]:
    """Drop reasoning without following output, as after an interrupted turn, because providers reject it."""
    if said[-1].type not in _UNSENT:
        return said
    end = len(said)
    while end and said[end - 1].type in _UNSENT:
        end -= 1
    left = [content for content in said[end:] if content.type != "text_reasoning"]
    if not end and left:  # Anthropic's client would send a message without content.
        left.append(Content.from_text(" ".join(dict.fromkeys(f"[{_tool(content)}]" for content in left))))
    return [*said[:end], *left]


def _tool(content: Content) -> str:
    return content.type.removesuffix("_tool_call").removesuffix("_tool_result")
