"""The transcript: what was said, folded into messages that every provider's rules allow.

Providers demand that a call is answered, once, right after the message that makes it, and that no answer comes without
its call. So calls are collected into the message that makes them, their results are placed directly behind it, a call
without a result gets one that says so, and a result without a call becomes a text.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Final, NamedTuple, TypeAlias

from agent_framework import Content, Message

from hostedagent.errors import InvalidRequest

NO_RESULT: Final = "[This call was never answered.]"


class Entry(NamedTuple):
    """One item, read: its role, contents and origin. A tuple, because every turn reads a long conversation whole."""

    role: str
    contents: Sequence[Content]
    author: str | None
    item_id: str | None
    param: str | None
    is_new: bool = False


Results: TypeAlias = Mapping[str, Sequence[Content | None]]
"""By call id, the result of each call that has the id, in their order: some model services use an id again."""


def pair(entries: Iterable[Entry]) -> Results:
    """Match results to calls: the latest call of that id that is open, and the first answer counts."""
    calls: dict[str, list[Content | None]] = {}
    for entry in entries:
        for content in entry.contents:
            call_id = content.call_id or ""
            if content.type == "function_call":
                calls.setdefault(call_id, []).append(None)
            elif content.type == "function_result":
                found = calls.get(call_id, [])
                _check_answer(call_id, entry, found)
                for n in reversed(range(len(found))):
                    if found[n] is None:
                        found[n] = content
                        break
    return {call_id: found for call_id, found in calls.items() if any(row is not None for row in found)}


def _check_answer(call_id: str, entry: Entry, found: Sequence[Content | None]) -> None:
    if entry.param is None:
        return
    param = f"{entry.param}.call_id"
    if not found:
        raise InvalidRequest(f"{param} {call_id!r} answers no function call of this conversation.", param=param)
    if None not in found:
        raise InvalidRequest(f"{param} {call_id!r} was answered before.", param=param)


@dataclass(slots=True)
class Fold:
    """Folds entries into messages, each with an id: Agent Framework drops a repeat without one as a duplicate.

    Args:
        results: The results of the calls.
        is_whole: Whether the transcript holds all calls; where another keeps the conversation, results stand alone.
        new_calls: The ids of the calls that the input answers.
        resumes: The names of the caller's tools, when Agent Framework runs the agent's own calls that were made
            together with a call that the input answers; `None` when it does not.
        is_split: Whether no message joins an item of this turn to one of an earlier turn.
    """

    results: Results
    is_whole: bool = True
    new_calls: frozenset[str] = frozenset()
    resumes: frozenset[str] | None = None
    is_split: bool = False
    _seen: Counter[str] = field(default_factory=Counter[str])
    _ids: Iterator[str] = field(default_factory=lambda: map(f"msg_{token_hex(16)}_{{}}".format, itertools.count()))

    def messages(self, entries: Iterable[Entry]) -> Iterator[Message]:
        """Join what one author says in a row, and put the results behind the calls."""
        said: list[Content] = []
        first: Entry | None = None
        for entry in entries:
            contents = [content for content in entry.contents if not self._is_placed(content) and not is_empty(content)]
            # A result stands behind its call. What comes next is said after it, in a message of its own.
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
        return entry.role == first.role == "assistant" and entry.author == first.author

    def _is_placed(self, content: Content) -> bool:
        return content.type == "function_result" and content.call_id in self.results

    def _flush(self, first: Entry, said: Sequence[Content]) -> Iterator[Message]:
        role = first.role
        if role == "tool" and self.is_whole:  # Only results that found no call are left here.
            role, said = "user", [Content.from_text(f"[Output of an unknown call: {row.result}]") for row in said]
        said = _without_loose_end(said)
        if not said:
            return
        yield Message(role, list(said), author_name=first.author, message_id=first.item_id or next(self._ids))
        calls = [content for content in said if content.type == "function_call" and content.call_id]
        if calls and (outputs := list(self._outputs(calls, said))):
            yield Message("tool", outputs, message_id=next(self._ids))

    def _outputs(self, calls: Sequence[Content], said: Sequence[Content]) -> Iterator[Content]:
        """The results of the calls in a message; what Agent Framework will run itself is left open."""
        waits = not self.is_whole or any(content.type == "function_approval_request" for content in said)
        resumes = self.resumes if any(call.call_id in self.new_calls for call in calls) else None
        for call in calls:
            call_id = call.call_id or ""
            found, n = self.results.get(call_id, ()), self._seen[call_id]
            self._seen[call_id] += 1
            if n < len(found) and (result := found[n]) is not None:
                yield result
            elif not waits and (resumes is None or call.name in resumes):
                yield Content.from_function_result(call_id, result=NO_RESULT)


def is_empty(content: Content) -> bool:
    """Whether a content is a text without words, which providers refuse."""
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
    """Drop reasoning that came to nothing, as when a turn was cut short: providers refuse it without what follows."""
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
