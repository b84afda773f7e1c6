"""Counts tokens with the agent's tokenizer, or with Agent Framework's estimate of four characters a token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from agent_framework import CharacterEstimatorTokenizer, Message, TokenizerProtocol, apply_compaction
from agent_framework import included_token_count as count_annotated

from hostedagent.agents.run import default_option, own_tools
from hostedagent.protocol.request.options import RunOptions

if TYPE_CHECKING:
    from agent_framework import FunctionTool


async def count_tokens(agent: object, messages: Sequence[Message], options: RunOptions) -> int:
    """Count the tokens that the model would get: messages, instructions and tools of the agent and the caller."""
    tokenizer, counted = tokenizer_of(agent), copies(messages)
    await apply_compaction(counted, strategy=_keep_all, tokenizer=tokenizer)
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


def copies(messages: Sequence[Message]) -> list[Message]:
    """Shallow copies, because Agent Framework annotates the messages that it counts and compacts."""
    return [
        Message(row.role, list(row.contents), author_name=row.author_name, message_id=row.message_id)
        for row in messages
    ]


async def _keep_all(messages: list[Message]) -> bool:
    """A compaction strategy without effect, which still makes Agent Framework count the messages."""
    return False


def _declaration(tool: FunctionTool) -> str:
    return json.dumps(tool.to_json_schema_spec(), default=str)
