"""`OfflineChatClient`: a chat client of Agent Framework without a model or a network.

It streams word by word, calls tools, counts tokens and obeys `max_tokens` and `response_format`. Without a script it
follows the rules in `rules`; with one it replies as scripted. In both cases `calls` records what a model would see.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    UsageDetails,
)
from agent_framework.observability import ChatTelemetryLayer

from hostedagent.errors import ConfigurationError
from hostedagent.platform import is_hosted
from hostedagent.protocol.values import rows_of

from . import rules
from .gate import Pause, wait_at

Piece: TypeAlias = str | Content | ChatResponseUpdate | BaseException | Pause
ReplyRule: TypeAlias = Callable[[Sequence[Message], Mapping[str, Any]], "Answer | Awaitable[Answer]"]
Answer: TypeAlias = str | Content | ChatResponseUpdate | BaseException | Sequence[Piece]
ScriptEntry: TypeAlias = Answer | ReplyRule
BeforeChunk: TypeAlias = Callable[[int, ChatResponseUpdate], Awaitable[None]]

WORD_WITH_SPACE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """The arguments of one model call: copies, taken before it answered."""

    messages: Sequence[Message]
    options: Mapping[str, Any]
    stream: bool

    @property
    def text(self) -> str:
        """The text of the newest user message."""
        return rules.last_user_text(self.messages)

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools offered."""
        return [str(getattr(tool, "name", tool)) for tool in rows_of(self.options.get("tools"))]

    @property
    def transcript(self) -> list[str]:
        """One line per content, such as `user: hi`, `assistant: -> f({"a": 1})`, `tool: <- 3`."""
        return [f"{message.role}: {_shown(content)}" for message in self.messages for content in message.contents]


class _OfflineModel(BaseChatClient[Any]):
    """The model itself; the layers around it are those of every chat client of Agent Framework."""

    OTEL_PROVIDER_NAME: ClassVar[str] = "offline"
    STORES_BY_DEFAULT: ClassVar[bool] = False

    def __init__(
        self,
        *,
        script: Iterable[ScriptEntry] | None = None,
        before_chunk: BeforeChunk | None = None,
        model: str = "offline-1",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.calls: list[ModelCall] = []
        self._script = None if script is None else list(script)
        self._before_chunk = before_chunk

    def assert_done(self) -> None:
        """Check that every entry of the script was used.

        Raises:
            AssertionError: entries are left.
        """
        left = (self._script or [])[len(self.calls) :]
        assert not left, f"{len(left)} replies of the script were never asked for: {left!r}"

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        updates = self._build_response_stream(
            self._updates(messages, options, stream=stream), response_format=options.get("response_format")
        )
        return updates if stream else updates.get_final_response()

    async def _updates(
        self, messages: Sequence[Message], options: Mapping[str, Any], *, stream: bool
    ) -> AsyncIterator[ChatResponseUpdate]:
        options = await self._validate_options(options)
        shown = [copy.deepcopy(message) for message in messages]
        number = len(self.calls)
        self.calls.append(ModelCall(shown, {**options, "tools": list(options.get("tools") or [])}, stream))
        answer = self._follow_rules(messages, options, number)
        if self._script is not None:
            answer = await self._read_script(messages, options, number)
        reply = _ModelReply(number, str(options.get("model") or self.model), options.get("max_tokens"))
        async for update in reply.updates(answer):
            if self._before_chunk is not None:
                await self._before_chunk(reply.sent, update)
            await asyncio.sleep(0)  # Yields like a model on the network, so that a stream is sent word by word.
            reply.sent += 1
            yield update
        yield reply.end(messages)

    def _follow_rules(self, messages: Sequence[Message], options: Mapping[str, Any], number: int) -> Answer:
        text = rules.last_user_text(messages)
        if not rules.tool_results(messages) and (tool := rules.choose_tool(options, text)) is not None:
            arguments = json.dumps(rules.arguments(tool.parameters(), text))
            # In fragments, as the model services send it: the name first, the arguments piece by piece.
            call_id = f"call_{number + 1}"
            pieces = ["", *re.findall(r"[^,]+,?\s*", arguments)]
            return [Content.from_function_call(call_id, tool.name, arguments=piece) for piece in pieces]
        if (response_format := options.get("response_format")) is not None:
            return rules.structured(response_format, text)
        return rules.answer(messages)

    async def _read_script(self, messages: Sequence[Message], options: Mapping[str, Any], number: int) -> Answer:
        script = self._script or []
        if number >= len(script):
            raise AssertionError(
                f"the script has {len(script)} replies and the model was called {number + 1} times; "
                f"the last call said: {self.calls[-1].transcript[-1:]}"
            )
        entry = script[number]
        if not callable(entry):
            return entry
        answer = entry(messages, options)
        return await answer if inspect.isawaitable(answer) else answer


class OfflineChatClient(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], ChatTelemetryLayer[Any], _OfflineModel):
    """A deterministic chat client for tests, samples and first steps.

    Args:
        script: one reply per model call: a text (streamed word by word), a `Content`, a `ChatResponseUpdate`, an
            exception to raise, a sequence of these in which a `Gate`, event or awaitable stops the stream, or a
            function `(messages, options) -> reply`, which may be async. A tool loop calls the model once per round.
        before_chunk: awaited with the number and the update before each update goes out.
        model: the model name reported.
        kwargs: `middleware`, `function_invocation_configuration` and other keywords of Agent Framework's clients.

    Raises:
        AssertionError: (from the run) the script has no reply left.

    Example:
        ```python
        client = OfflineChatClient(script=["Hello!"])
        agent = Agent(client, instructions="Be brief.")
        assert (await agent.run("hi")).text == "Hello!"
        assert client.calls[0].transcript == ["user: hi"]
        ```
    """


def offline_model(*, missing: str) -> OfflineChatClient:
    """A stand-in for the model of a project whose model is not set yet; says so on standard error.

    Args:
        missing: The setting that would name the model.

    Raises:
        ConfigurationError: The process is hosted, where a stand-in would answer real users.
    """
    if is_hosted():
        raise ConfigurationError(f"{missing} is not set: a hosted agent needs a model. Set it in azure.yaml.")
    print(f"{missing} is not set: an offline stand-in answers, by fixed rules.", file=sys.stderr)
    return OfflineChatClient()


class _ModelReply:
    """One reply in progress: splits it into updates, counts tokens and stops at the limit."""

    def __init__(self, number: int, model: str, max_tokens: int | None) -> None:
        self.sent = 0
        self._ids: dict[str, Any] = {
            "response_id": f"offline-{number + 1}",
            "message_id": f"offline-message-{number + 1}",
            "model": model,
        }
        self._limit = max_tokens
        self._tokens = 0
        self._calls_tools = False
        self._is_cut = False
        self._finish_reason: Any = None

    async def updates(self, answer: Answer) -> AsyncIterator[ChatResponseUpdate]:
        pieces = cast("Sequence[Piece]", [answer] if _is_one(answer) else answer)
        for piece in pieces:
            if isinstance(piece, str):
                for word in WORD_WITH_SPACE.findall(piece):
                    if self._limit is not None and self._tokens >= self._limit:
                        self._is_cut = True
                        return
                    yield self._update(Content.from_text(word))
            elif isinstance(piece, Content):
                yield self._update(piece)
            elif isinstance(piece, ChatResponseUpdate):
                self._finish_reason = piece.finish_reason or self._finish_reason
                yield piece
            elif isinstance(piece, BaseException):
                raise piece
            else:
                await wait_at(piece)

    def end(self, messages: Sequence[Message]) -> ChatResponseUpdate:
        """The last update: usage and the reason why the reply ends."""
        seen = sum(len(WORD_WITH_SPACE.findall(message.text)) for message in messages)
        usage = UsageDetails(
            input_token_count=seen, output_token_count=self._tokens, total_token_count=seen + self._tokens
        )
        reason = "length" if self._is_cut else "tool_calls" if self._calls_tools else "stop"
        return ChatResponseUpdate(
            contents=[Content.from_usage(usage)],
            role="assistant",
            finish_reason=self._finish_reason or reason,
            **self._ids,
        )

    def _update(self, content: Content) -> ChatResponseUpdate:
        self._tokens += 1
        self._calls_tools |= content.type == "function_call"
        return ChatResponseUpdate(contents=[content], role="assistant", **self._ids)


def _is_one(answer: Answer) -> bool:
    return isinstance(answer, (str, Content, ChatResponseUpdate, BaseException))


def _shown(content: Content) -> str:
    match content.type:
        case "text" | "text_reasoning":
            return content.text or ""
        case "function_call":
            return f"-> {content.name}({content.arguments})"
        case "function_result":
            return f"<- {content.result}"
        case other:
            return f"[{other}]"
