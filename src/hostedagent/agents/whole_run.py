"""Runs an agent without streaming: one answer per model call instead of an update per token.

A streamed run costs several times as much, which is worth it only if a client reads the stream. Each message of a
whole run becomes one update, so that the projection creates the same items. Fields that Agent Framework's clients
provide only while streaming are filled in here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from agent_framework import (
    Agent,
    AgentResponse,
    AgentResponseUpdate,
    ChatContext,
    ChatMiddleware,
    ChatMiddlewareLayer,
    ChatResponse,
    Content,
    MiddlewareFailure,
)

from hostedagent.agents.model_calls import ModelCalls
from hostedagent.errors import foreign_attribute
from hostedagent.protocol.values import rows_of

if TYPE_CHECKING:
    from agent_framework import Message, SupportsAgentRun

_STREAMED: Final = frozenset({"RawAnthropicClient"})
"""Clients that refuse long requests without streaming."""


def can_run_whole(agent: SupportsAgentRun) -> bool:
    """Whether a run of the agent gives the same result without streaming.

    Middleware of the application, or an agent from outside Agent Framework, may treat the two differently.
    """
    client: object = getattr(agent, "client", None)
    middleware = (getattr(agent, "middleware", None), getattr(client, "chat_middleware", None))
    return (
        issubclass(kind := type(cast("object", agent)), Agent)
        and cast("Any", kind).run.__module__.partition(".")[0] == "agent_framework"
        and issubclass(type(client), ChatMiddlewareLayer)
        and not any(middleware)
        and not _must_stream(type(client))
    )


@lru_cache(maxsize=64)
def _must_stream(client: type) -> bool:
    return not _STREAMED.isdisjoint(base.__name__ for base in client.__mro__)


class WholeRun(ChatMiddleware):
    """Collects the model calls of one run without streaming and turns them into updates."""

    def __init__(self, agent: object, calls: ModelCalls) -> None:
        self._has_name = bool(getattr(agent, "name", None))
        self._calls = calls
        self._given: frozenset[int] | None = None
        self._made: list[Message] = []
        self._usage: list[Content] = []
        self._failed: object = None

    async def process(self, context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        """Watch one model call, before its tools run.

        Raises:
            MiddlewareFailure: The model's service reports that its answer has failed.
        """
        if self._given is None:
            self._given = frozenset(map(id, context.messages))
        known = self._given.union(map(id, self._made))
        self._made += [row for row in context.messages if row.role == "tool" and id(row) not in known]
        await call_next()
        response = context.result
        if not isinstance(response, ChatResponse):
            return
        raw: object = response.raw_representation
        for message in response.messages:
            _complete(message, raw)
            self._calls.take_whole(message)
            self._made.append(message)
        if response.usage_details is not None:
            self._usage.append(Content.from_usage(response.usage_details))
        if foreign_attribute(raw, "object") == "response" and foreign_attribute(raw, "status") == "failed":
            self._failed = raw
            raise MiddlewareFailure("The model's service reports that its answer has failed.")

    async def updates(self, run: Awaitable[AgentResponse]) -> AsyncGenerator[AgentResponseUpdate]:
        """The messages of the run, up to its failure if it failed."""
        try:
            response = await run
        except Exception:
            messages = [
                AgentResponseUpdate(contents=row.contents, role=row.role, message_id=row.message_id)
                for row in self._made
            ]
            for update in self._marked(messages):
                yield update
            yield AgentResponseUpdate(contents=self._usage, raw_representation=self._failed)
            if self._failed is None:
                raise
            return
        updates = response.to_updates()
        model = foreign_attribute(response.raw_representation, "model")
        updates[-1].raw_representation = SimpleNamespace(model=model)
        for update in self._marked(updates):
            yield update

    def _marked(self, updates: list[AgentResponseUpdate]) -> list[AgentResponseUpdate]:
        """One update for each message, distinguished by its id."""
        for n, update in enumerate(updates):
            update.merge_mode = "replace"
            update.message_id = update.message_id or f"message-{n}"
            if not self._has_name:  # Agent Framework puts a name of its own into whole messages.
                update.author_name = None
        return updates


# OpenAI's client puts several messages of one answer into one, and leaves their ids to the events of a stream; a code
# interpreter without outputs has an empty list of them.
# Can go when it does the same whether it streams or not (no issue of it is known upstream).
def _complete(message: Message, raw: object) -> None:
    items = [row for row in rows_of(foreign_attribute(raw, "output")) if foreign_attribute(row, "type") == "message"]
    owners = {id(part): row for row in items for part in rows_of(foreign_attribute(row, "content"))}
    for content in message.contents:
        made_of: object = content.raw_representation
        if content.type == "text" and (owner := owners.get(id(made_of))) is not None:
            content.raw_representation = SimpleNamespace(item_id=foreign_attribute(owner, "id"))
        elif content.type == "code_interpreter_tool_result" and not content.outputs:
            content.outputs = cast("Any", foreign_attribute(made_of, "outputs"))
