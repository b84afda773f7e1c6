"""Compacts a transcript with a strategy of Agent Framework: the host's, the agent's own, or a summary by its model.

For an agent without a chat client, a strategy without a model call turns tool calls into lines of text.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import (
    Message,
    SummarizationStrategy,
    ToolResultCompactionStrategy,
    UsageDetails,
    add_usage_details,
    apply_compaction,
)
from msgspec import Struct

from hostedagent.agents.run import default_option
from hostedagent.agents.tokens import copies, tokenizer_of
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
    before, after = copies(messages), copies(kept)
    summarizer = _Summarizer(agent)
    strategy = chosen or getattr(agent, "compaction_strategy", None) or _strategy_for(summarizer, len(after))
    found = await apply_compaction([*before, *after], strategy=strategy, tokenizer=tokenizer_of(agent))
    if summarizer.error is not None:
        raise summarizer.error
    originals = dict(zip(map(id, before), messages, strict=True))
    later = set(map(id, after))
    left = [originals.get(id(row)) or _plain(row) for row in found if id(row) not in later]
    has_changed = [id(row) for row in left] != [id(row) for row in messages]
    return Compacted(left, has_changed, summarizer.usage)


def _plain(row: Message) -> Message:
    """A message that the strategy created, without its annotations."""
    return Message(row.role, row.contents, author_name=row.author_name)


def _strategy_for(summarizer: _Summarizer, kept: int) -> CompactionStrategy:
    if not summarizer.can_summarize:
        return ToolResultCompactionStrategy(keep_last_tool_call_groups=0)
    return SummarizationStrategy(
        client=cast("Any", summarizer), target_count=max(kept, 1), threshold=0, max_summary_input_tokens=None
    )


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
        self.error: Exception | None = None

    @property
    def can_summarize(self) -> bool:
        """Whether there is a client."""
        return callable(getattr(self._client, "get_response", None))

    async def get_response(self, messages: Sequence[Message], **_: object) -> ChatResponse:
        """As on Agent Framework's clients. The strategy swallows errors, so the error is kept."""
        try:
            options: Mapping[str, Json] = copy.copy(self._options)
            response: ChatResponse = await self._client.get_response(list(messages), stream=False, options=options)
        except Exception as error:
            self.error = error
            raise
        if response.usage_details:
            self.usage = add_usage_details(self.usage, response.usage_details)
        return response
