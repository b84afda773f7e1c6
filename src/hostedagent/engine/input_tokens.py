"""Counts the tokens of a turn's input before it is run, with the tokenizer of the agent.

An agent without one is counted by Agent Framework's estimate of four characters for a token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from agent_framework import CharacterEstimatorTokenizer, Message, TokenizerProtocol, apply_compaction
from agent_framework import included_token_count as count_annotated

from hostedagent.agents.run import default_option, own_tools
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.engine import Engine
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import to_messages

if TYPE_CHECKING:
    from agent_framework import FunctionTool


async def count_input_tokens(engine: Engine, request: TurnRequest, *, trusts_roles: bool) -> int:
    """How many tokens the model would be given: instructions, tools, the conversation and the input.

    Args:
        engine: Would run the turn.
        request: The turn, whose input may be empty.
        trusts_roles: Whether system and developer messages of callers keep their role.

    Raises:
        NotFound: `previous_response_id` does not exist, or belongs to another scope.
        InvalidRequest: An input item answers a call that does not exist.
    """
    agent, caller = engine.services.source.instance, request.caller
    ids = await history_ids(engine.store, caller, request, await _excluded(engine, request))
    history = await read_items(engine.store, caller, ids)
    messages = to_messages(history, request.input, trusts_roles=trusts_roles, instructions=request.options.instructions)
    tokenizer = _tokenizer(agent)
    await apply_compaction(messages, strategy=_keep_all, tokenizer=tokenizer)
    texts = [default_option(agent, "instructions"), request.options.chat.get("instructions")]
    tools = [*own_tools(agent), *request.options.tools.functions.values()]
    texts += [_declaration(cast("FunctionTool", tool)) for tool in tools if hasattr(tool, "to_json_schema_spec")]
    texts += [json.dumps(tool, default=str) for tool in request.options.tools.server]
    extra = sum(tokenizer.count_tokens(text) for text in texts if isinstance(text, str) and text)
    return count_annotated(messages) + extra


async def _excluded(engine: Engine, request: TurnRequest) -> Sequence[str]:
    sessions, caller = engine.services.sessions, request.caller
    if request.previous_response_id is not None:
        return (await sessions.resume(caller, request.previous_response_id)).excluded
    if request.conversation_id is not None:
        return (await sessions.head(caller, request.conversation_id)).excluded
    return ()


async def _keep_all(messages: list[Message]) -> bool:
    """The compaction that changes nothing: the messages are counted all the same."""
    return False


def _tokenizer(agent: object) -> TokenizerProtocol:
    for owner in (agent, getattr(agent, "client", None)):
        if isinstance(found := getattr(owner, "tokenizer", None), TokenizerProtocol):
            return found
    return CharacterEstimatorTokenizer()


def _declaration(tool: FunctionTool) -> str:
    return json.dumps(tool.to_json_schema_spec(), default=str)
