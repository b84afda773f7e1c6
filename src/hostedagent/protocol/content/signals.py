"""Signals: contents without an item that change the turn. Usage is counted, an error ends the turn."""

from __future__ import annotations

from collections.abc import Iterator

from agent_framework import UsageDetails

from hostedagent.failures import provider_failure
from hostedagent.protocol.content.codec import Codec, Part
from hostedagent.protocol.types import CountUsage, Effect, EndTurn


def effect(part: Part) -> Iterator[Effect]:
    """Usage snapshots replace the count, other usage adds to it; an error content fails the turn with a mapped code."""
    content = part.content
    if content.type == "error":
        yield EndTurn(provider_failure(content.error_code))
    else:
        yield CountUsage(content.usage_details or UsageDetails(), replaces=part.replaces)


SIGNALS = Codec(
    family="signals",
    content_types=("usage", "error"),
    effect=effect,
    absent={
        "read": "Usage and errors are fields of the response, not items: a caller cannot send them.",
        "emit": "Usage is reported in `response.usage`, an error in `response.error`.",
        "stream": "Both are known when the turn ends.",
    },
    limits=(
        "An answer without a finish reason fails the turn if the chat client is OpenAI's or Anthropic's; other clients "
        "may omit it. The tool calls of such an answer are not run, except that an agent inside a workflow, and one "
        "whose `run` takes no `middleware`, may have run them before the turn fails.",
    ),
)
