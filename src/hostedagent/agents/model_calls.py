"""Detects model answers that were cut off, and keeps their tool calls from running.

A service that closes its stream early raises no error: the client simply yields no more updates. The only sign is the
missing finish reason. The client's function loop would run the calls of the incomplete answer, perhaps with truncated
arguments, or ask for their approval. `Guard` prevents that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from agent_framework import ChatResponseUpdate, FunctionInvocationContext, FunctionMiddleware, MiddlewareFailure

from hostedagent.errors import foreign_attribute
from hostedagent.protocol.content.function_call import Arguments, call_kind
from hostedagent.protocol.json import is_whole

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, Content, Message

_SERVICES: Final = ("openai", "anthropic")
"""Packages whose streams always end with a finish reason."""

_OF_THE_LOOP: Final = ("function_result", "function_approval_request")

NOT_PARSED: Final = "Error: Argument parsing failed."
"""Tool result for a call with truncated arguments; the same text that Agent Framework uses."""


class ModelCalls:
    """Watches the updates of a run, which may contain several agents with one model call at a time each.

    Attributes:
        cut_at: The result that the function loop produced for a truncated answer; it must not be sent.
        is_expected: Whether the run must call a known service, so that a run without any update was cut off.
    """

    def __init__(self) -> None:
        self.cut_at: AgentResponseUpdate | None = None
        self.is_expected = False
        self._is_silent = True
        self._open: set[str | None] = set()
        self._ended: dict[str | None, str | None] = {}
        self._arguments: dict[str, Arguments] = {}
        self._authors: dict[str, str | None] = {}
        self._latest: dict[str | None, str] = {}
        self._complete: set[str] = set()
        """Call ids of finished answers. Some servers reuse an id in the next answer."""

    @property
    def is_cut(self) -> bool:
        """Whether a model call has started and not finished. Read it after the run has ended."""
        return self.cut_at is not None or bool(self._open) or (self.is_expected and self._is_silent)

    def see(self, update: AgentResponseUpdate) -> bool:
        """Inspect one update of the run; most have no effect.

        Returns:
            Whether the update shows that an answer was cut off, so that the run must stop.
        """
        self._is_silent = False
        author = update.author_name or update.agent_id
        for content in update.contents:
            if content.type == "function_call":
                self._take(content, author)
        raw = update.raw_representation
        if type(raw) is ChatResponseUpdate and raw.raw_representation is None and author not in self._open:
            if raw.finish_reason is None and update.finish_reason is None:
                return False  # Nearly every update of an application's own client takes this path: keep it short.
        if update.finish_reason is not None or foreign_attribute(raw, "finish_reason") is not None:
            self._finish(update, author)
        elif author in self._open:
            return self._follow(update, author)
        elif raw is not None and self._begins(update, author):
            self._open.add(author)
        return False

    def take_whole(self, message: Message) -> None:
        """Inspect a message of an answer that was not streamed."""
        for content in message.contents:
            if content.type == "function_call":
                self._take(content, None)
                self._complete.add(content.call_id or "")

    def restart(self) -> None:
        """Start over: the service repeats its answer from the first event."""
        for seen in (self._open, self._ended, self._arguments, self._authors, self._latest, self._complete):
            seen.clear()

    def refusal_of(self, call_id: str) -> str | None:
        """Why a call must not run: `"cut"` if its answer was cut off, `"half"` if its arguments were, else `None`."""
        if call_id in self._authors and self._authors[call_id] in self._open:
            return "cut"
        arguments = self._arguments.get(call_id)
        return "half" if arguments is not None and arguments.text and not is_whole(arguments.text) else None

    def _take(self, content: Content, author: str | None) -> None:
        call_id = content.call_id or self._latest.get(author)
        if call_id is None or call_kind(content) != "function_call":
            return
        self._latest[author], self._authors[call_id] = call_id, author
        if call_id in self._complete:
            self._complete.discard(call_id)
            self._arguments.pop(call_id, None)
        is_snapshot = content.merge_mode == "replace" or bool(content.user_input_request)
        self._arguments.setdefault(call_id, Arguments()).take(content, is_snapshot=is_snapshot)

    def _finish(self, update: AgentResponseUpdate, author: str | None) -> None:
        self._open.discard(author)
        self._ended[author] = update.response_id
        self._complete.update(call_id for call_id, made_by in self._authors.items() if made_by == author)

    def _begins(self, update: AgentResponseUpdate, author: str | None) -> bool:
        """Whether the update starts a model call. Updates after a finish reason still belong to the finished call."""
        if _service(update) is None:
            return False
        if update.response_id is not None:
            return update.response_id != self._ended.get(author)
        return any(content.type != "usage" for content in update.contents)

    def _follow(self, update: AgentResponseUpdate, author: str | None) -> bool:
        last = update.contents[-1].type if update.contents else None
        if last == "usage" and _service(update) == "openai":
            self._finish(update, author)  # Usage covers the whole answer; some servers send it without a finish reason.
        elif last in _OF_THE_LOOP and _service(update) is None:
            self.cut_at = update
        return self.cut_at is not None


def _service(update: AgentResponseUpdate) -> str | None:
    """The package of the service's event behind the update, if known."""
    raw = update.raw_representation
    event = foreign_attribute(raw, "raw_representation") or raw
    return _package(cast("type[object]", type(event)))


@lru_cache(maxsize=256)
def _package(kind: type[object]) -> str | None:
    package = kind.__module__.partition(".")[0]
    return package if package in _SERVICES else None


class Guard(FunctionMiddleware):
    """Middleware that refuses the tool calls of a truncated answer, and calls with truncated arguments."""

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls

    async def process(self, context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]) -> None:
        """Run the call, if it may run; raises `MiddlewareFailure` when the answer that makes the call has no end."""
        match self._calls.refusal_of(str(context.metadata.get("call_id"))):
            case "cut":
                raise MiddlewareFailure("The answer of the model's service ended before it was complete.")
            case "half":
                context.result = NOT_PARSED
            case _:
                await call_next()
