"""Decides which approval requests and answers of a transcript Agent Framework and the model see.

A request that this turn answers stays next to its answer, which Agent Framework then carries out. A request that was
settled in an earlier turn becomes the call that it was; an unanswered one is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent_framework import Content
from msgspec import Struct, field

from hostedagent.protocol.transcript.tool_pairing import Entry


class Answered(Struct, frozen=True):
    """The approvals that a turn answers.

    Args:
        responses: The answers as Agent Framework expects them, by the id of the request on the wire.
        waiting: The request ids that were asked together with them, answered or not.
    """

    responses: Mapping[str, Content] = field(default_factory=dict[str, Content])
    waiting: frozenset[str] = frozenset()


NO_ANSWERS = Answered()

_APPROVALS: Final = ("function_approval_request", "function_approval_response")


def settle_questions(entries: Sequence[Entry], answered: Answered) -> list[Entry]:
    """Keep the requests that this turn answers; settled ones become the calls they were, others are hidden.

    A provider's own requests and their answers are kept, with the provider's ids.
    """
    contents = [content for entry in entries for content in entry.contents]
    if not any(content.type in _APPROVALS for content in contents):
        return list(entries)
    calls = {content.call_id for content in contents if content.type == "function_call"}
    settled = {content.call_id for content in contents if content.type == "function_result"} - calls
    questions = _Questions(answered, settled)
    return [
        entry._replace(contents=[row for c in entry.contents for row in questions.settle(c, entry)])
        for entry in entries
    ]


class _Questions:
    """Converts the approvals of a transcript."""

    def __init__(self, answered: Answered, settled: set[str | None]) -> None:
        self._answered = answered
        self._settled = settled
        self._shown: set[str | None] = set()
        self._hosted: dict[str | None, Content] = {}

    def settle(self, content: Content, entry: Entry) -> Iterator[Content]:
        match content.type:
            case "function_approval_request" if content.function_call is not None:
                asked = self._as_recorded(content, entry)
                yield from self._question(asked, asked.function_call or content.function_call, entry)
            case "function_approval_response":
                yield from self._answer(content, entry)
            case _:
                yield content

    def _as_recorded(self, content: Content, entry: Entry) -> Content:
        """The request with the ids of its record: a caller's copy has only the id on the wire."""
        response = self._answered.responses.get(entry.item_id or "")
        if response is None or response.id is None or response.function_call is None:
            return content
        return Content.from_function_approval_request(response.id, response.function_call)

    def _question(self, content: Content, call: Content, entry: Entry) -> Iterator[Content]:
        if call.hosted:
            yield from self._hosted_question(content, entry)
        elif content.id in self._shown:
            return
        elif content.id in self._answered.waiting:
            self._shown.add(content.id)
            yield content
        elif call.call_id in self._settled:
            self._shown.add(content.id)
            yield call

    def _hosted_question(self, content: Content, entry: Entry) -> Iterator[Content]:
        """Restore the provider's own id of a request, from the stored item or its record.

        A request that has only the id on the wire was created by a caller: the provider must not act on it.
        """
        if content.id == entry.item_id:
            return
        self._hosted[entry.item_id] = content
        yield content

    def _answer(self, content: Content, entry: Entry) -> Iterator[Content]:
        response = self._answered.responses.get(content.id or "")
        if entry.param is not None and response is not None:
            yield response
        elif (asked := self._hosted.get(content.id)) is not None:
            yield Content(
                "function_approval_response",
                approved=content.approved,
                id=asked.id,
                function_call=asked.function_call,  # Marks it as the provider's own; any other needs a session.
            )
