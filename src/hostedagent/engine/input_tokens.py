"""Counts the tokens of a turn's input before it is run."""

from __future__ import annotations

from collections.abc import Sequence

from hostedagent.agents.tokens import count_tokens
from hostedagent.conversation.compaction import open_history, open_input
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.engine import Engine
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import to_messages


async def count_input_tokens(engine: Engine, request: TurnRequest) -> int:
    """Count the tokens that the model would get: instructions, tools, the conversation and the input.

    Raises:
        NotFound: `previous_response_id` does not exist, or belongs to another scope.
        InvalidRequest: An input item answers a call that does not exist.
    """
    agent, caller = engine.services.source.instance, request.caller
    ids = await history_ids(engine.store, caller, request, await excluded(engine, request))
    history = await read_items(engine.store, caller, ids)
    await open_input(request, engine.services.sessions.seals)
    await open_history(history, caller, engine.services.sessions.seals, request.reader)
    messages = to_messages(
        history,
        request.input,
        trusts_roles=engine.options.caller.trusts_roles,
        instructions=request.options.instructions,
        reader=request.reader,
    )
    return await count_tokens(agent, messages, request.options)


async def excluded(engine: Engine, request: TurnRequest) -> Sequence[str]:
    """The items of failed turns in the continued conversation, which are in no prompt."""
    sessions, caller = engine.services.sessions, request.caller
    if request.previous_response_id is not None:
        return (await sessions.resume(caller, request.previous_response_id)).excluded
    if request.conversation_id is not None:
        return (await sessions.head(caller, request.conversation_id)).excluded
    return ()
