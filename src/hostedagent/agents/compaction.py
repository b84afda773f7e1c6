"""Compacts a transcript with a strategy of Agent Framework: the host's, the agent's own, or a summary by its model.

For an agent without a chat client, a strategy without a model call turns tool calls into lines of text.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import (
    Message,
    SummarizationStrategy,
    ToolResultCompactionStrategy,
    UsageDetails,
    add_usage_details,
    apply_compaction,
    included_messages,
)
from msgspec import Struct

from hostedagent.agents.run import default_option
from hostedagent.agents.tokens import annotated, tokenizer_of
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from agent_framework import ChatResponse, CompactionStrategy


class Compacted(Struct, frozen=True):
    """A compacted transcript."""

    messages: list[Message]
    has_changed: bool
    usage: UsageDetails | None = None


async def compact(
    agent: object, messages: Sequence[Message], kept: Sequence[Message], chosen: CompactionStrategy | None
) -> Compacted:
    """Compact a transcript.

    Args:
        kept: Messages after it, which the strategy sees but does not change.
        chosen: The host's strategy; by default the agent's own, else one that suits it.

    Raises:
        Exception: The error of the chat client, when the summary failed.
    """
    tokenizer, summarizer = tokenizer_of(agent), _Summarizer(agent)
    whole = await asyncio.to_thread(annotated, [*messages, *kept], tokenizer)
    before, after = whole[: len(messages)], whole[len(messages) :]
    strategy = chosen or getattr(agent, "compaction_strategy", None)
    if strategy is None and not summarizer.can_summarize:
        found = await _without_calls(before)
    elif strategy is None:
        work = apply_compaction(whole, strategy=_summary(summarizer, len(after)), tokenizer=tokenizer)
        found = await summarizer.drive(work)
    else:
        found = await apply_compaction(whole, strategy=strategy, tokenizer=tokenizer)
    originals = dict(zip(map(id, before), messages, strict=True))
    later = set(map(id, after))
    left = [originals.get(id(row)) or _plain(row) for row in found if id(row) not in later]
    has_changed = [id(row) for row in left] != [id(row) for row in messages]
    return Compacted(left, has_changed, summarizer.usage)


def _plain(row: Message) -> Message:
    """A message that the strategy created, without its annotations."""
    return Message(row.role, row.contents, author_name=row.author_name)


async def _without_calls(messages: list[Message]) -> list[Message]:
    """Turn tool calls into text, group by group: the time that the strategy needs grows with the square of them."""
    strategy = ToolResultCompactionStrategy(keep_last_tool_call_groups=0)
    groups: list[list[Message]] = []
    for row in messages:
        if not groups or (row.role != "tool" and not _is_reasoning(groups[-1][-1])):
            groups.append([])
        groups[-1].append(row)
    for group in groups:
        await strategy(group)
        await asyncio.sleep(0)  # Other requests are served meanwhile.
    return [row for group in groups for row in included_messages(group)]


def _is_reasoning(row: Message) -> bool:
    return all(content.type == "text_reasoning" for content in row.contents)


def _summary(summarizer: _Summarizer, kept: int) -> CompactionStrategy:
    return SummarizationStrategy(
        client=cast("Any", summarizer), target_count=max(kept, 1), threshold=0, max_summary_input_tokens=None
    )


class _Question(Struct, frozen=True):
    """A question of a strategy to the model; awaited, it is the answer."""

    messages: list[Message]

    def __await__(self) -> Generator[_Question, ChatResponse, ChatResponse]:
        return (yield self)


class _Summarizer:
    """Wraps an agent's chat client for one summary: the service does not store the call, and its tokens are counted."""

    def __init__(self, agent: object) -> None:
        self._client: Any = getattr(agent, "client", None)
        self._options: dict[str, Json] = {}
        if isinstance(model := default_option(agent, "model"), str):
            self._options["model"] = model
        if getattr(self._client, "STORES_BY_DEFAULT", False):
            self._options["store"] = False
        self.usage: UsageDetails | None = None

    @property
    def can_summarize(self) -> bool:
        """Whether there is a client."""
        return callable(getattr(self._client, "get_response", None))

    async def get_response(self, messages: Sequence[Message], **_: object) -> ChatResponse:
        """As on Agent Framework's clients."""
        return await _Question(list(messages))

    async def drive(self, work: Coroutine[Any, Any, list[Message]]) -> list[Message]:
        """Run a strategy in threads, because its work grows with the messages, but its call of the model here.

        The strategy does not see an error of the model, which it would swallow.
        """
        step = await asyncio.to_thread(_advance, work, None)
        while isinstance(step, _Question):
            step = await asyncio.to_thread(_advance, work, await self._ask(step.messages))
        return step

    async def _ask(self, messages: list[Message]) -> ChatResponse:
        options: Mapping[str, Json] = copy.copy(self._options)
        response: ChatResponse = await self._client.get_response(messages, stream=False, options=options)
        if response.usage_details:
            self.usage = add_usage_details(self.usage, response.usage_details)
        return response


def _advance(work: Coroutine[Any, Any, list[Message]], answer: ChatResponse | None) -> _Question | list[Message]:
    """Run a strategy up to its next question, or to its end."""
    try:
        return work.send(answer)
    except StopIteration as ended:
        return ended.value
