"""The one chat client of all systems: answers at once or paced, as the last message of the prompt says.

Nothing but the asked-for pauses makes the process wait, so that what is measured is everything around the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
)
from agent_framework.observability import ChatTelemetryLayer
from told import WORD, Told


class _Words(BaseChatClient[Any]):
    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **_: Any
    ) -> Awaitable[ChatResponse] | ResponseStream[ChatResponseUpdate, ChatResponse]:
        told = Told.by(next((message.text for message in reversed(messages) if message.role == "user"), ""))
        if told.calls_tool and messages[-1].role != "tool":
            call = Content.from_function_call("call_1", "lookup", arguments='{"city": "Paris"}')
            return self._stream(_one(call)) if stream else _whole(call, told)
        if stream:
            return self._stream(_words(told))
        return _whole(Content.from_text(WORD * told.words), told)

    def _stream(self, updates: AsyncIterator[ChatResponseUpdate]) -> ResponseStream[ChatResponseUpdate, ChatResponse]:
        return ResponseStream(updates, finalizer=ChatResponse.from_updates)


async def _one(content: Content) -> AsyncIterator[ChatResponseUpdate]:
    yield ChatResponseUpdate(contents=[content], role="assistant")


async def _words(told: Told) -> AsyncIterator[ChatResponseUpdate]:
    for _ in range(told.words):
        if told.pause:
            await asyncio.sleep(told.pause)
        yield ChatResponseUpdate(contents=[Content.from_text(WORD)], role="assistant")


async def _whole(content: Content, told: Told) -> ChatResponse:
    if told.pause:
        await asyncio.sleep(told.pause * told.words)
    return ChatResponse(messages=[Message("assistant", [content])])


class Words(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], ChatTelemetryLayer[Any], _Words):
    """The chat client, with the layers that every chat client of Agent Framework has."""


def lookup(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


def agent() -> Agent:
    """The agent that every system serves."""
    return Agent(Words(), "Say words.", name="words", tools=[lookup])
