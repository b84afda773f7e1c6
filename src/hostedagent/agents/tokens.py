"""Counts tokens with the agent's tokenizer, or with Agent Framework's estimate of four characters a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from agent_framework import CharacterEstimatorTokenizer, Message, TokenizerProtocol, annotate_message_groups
from agent_framework import included_token_count as count_annotated

from hostedagent.agents.run import default_option, own_tools
from hostedagent.protocol.request.options import RunOptions

if TYPE_CHECKING:
    from agent_framework import FunctionTool


async def count_tokens(agent: object, messages: Sequence[Message], options: RunOptions) -> int:
    """Count the tokens that the model would get: messages, instructions and tools of the agent and the caller."""
    return await asyncio.to_thread(_count, agent, messages, options)


def _count(agent: object, messages: Sequence[Message], options: RunOptions) -> int:
    tokenizer = tokenizer_of(agent)
    counted = annotated(messages, tokenizer)
    texts = [default_option(agent, "instructions"), options.chat.get("instructions")]
    tools = [*own_tools(agent), *options.tools.functions.values()]
    texts += [_declaration(cast("FunctionTool", tool)) for tool in tools if hasattr(tool, "to_json_schema_spec")]
    texts += [json.dumps(tool, default=str) for tool in options.tools.server]
    extra = sum(tokenizer.count_tokens(text) for text in texts if isinstance(text, str) and text)
    return count_annotated(counted) + extra


def tokenizer_of(agent: object) -> TokenizerProtocol:
    """The tokenizer of an agent or of its chat client, else the estimate."""
    for owner in (agent, getattr(agent, "client", None)):
        if isinstance(found := getattr(owner, "tokenizer", None), TokenizerProtocol):
            return found
    return CharacterEstimatorTokenizer()


def annotated(messages: Sequence[Message], tokenizer: TokenizerProtocol) -> list[Message]:
    """Shallow copies, annotated as Agent Framework needs them to count and compact; slow for many or long messages."""
    copies = [
        Message(row.role, list(row.contents), author_name=row.author_name, message_id=row.message_id)
        for row in messages
    ]
    annotate_message_groups(copies, tokenizer=tokenizer)
    return copies


def _declaration(tool: FunctionTool) -> str:
    return json.dumps(tool.to_json_schema_spec(), default=str)
