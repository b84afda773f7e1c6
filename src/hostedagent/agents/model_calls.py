"""The model calls of a run: whether each came to its end, and whether what it calls is complete.

A service that closes its stream in the middle raises nothing: its client just has no more updates. What tells is the
finish reason that does not come. A client's function loop would go on and run the calls of half an answer, with
arguments that may be cut, or ask for their approval. `Guard` keeps it from running them.
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
"""The packages whose events always end with a finish reason."""

_OF_THE_LOOP: Final = ("function_result", "function_approval_request")

NOT_PARSED: Final = "Error: Argument parsing failed."
"""What the model reads of a call whose arguments were cut; Agent Framework says the same where it notices."""


class ModelCalls:
    """Watches the updates of a run. Several agents may speak in it, each with one model call at a time.

    Attributes:
        cut_at: What the function loop made of an answer that was cut off; it must not come out.
        is_expected: Whether the run must ask a service that is known, so that saying nothing at all is no answer.
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
        """Calls of answers that have ended. Some servers use an id again in the next answer."""

    @property
    def is_cut(self) -> bool:
        """Whether a model call has begun and not come to its end. To be asked when the run has ended."""
        return self.cut_at is not None or bool(self._open) or (self.is_expected and self._is_silent)

    def see(self, update: AgentResponseUpdate) -> bool:
        """Inspect one update as it comes from the run; nearly all have no effect.

        Returns:
            Whether it shows that an answer was cut off, so that nothing may follow.
        """
        self._is_silent = False
        author = update.author_name or update.agent_id
        for content in update.contents:
            if content.type == "function_call":
                self._take(content, author)
        raw = update.raw_representation
        if type(raw) is ChatResponseUpdate and raw.raw_representation is None and author not in self._open:
            if raw.finish_reason is None and update.finish_reason is None:
                return False  # The way of nearly every update of a client of the application's own: keep it short.
        if update.finish_reason is not None or foreign_attribute(raw, "finish_reason") is not None:
            self._finish(update, author)
        elif author in self._open:
            return self._follow(update, author)
        elif raw is not None and self._begins(update, author):
            self._open.add(author)
        return False

    def take_whole(self, message: Message) -> None:
        """Inspect a message of an answer that came whole."""
        for content in message.contents:
            if content.type == "function_call":
                self._take(content, None)
                self._complete.add(content.call_id or "")

    def restart(self) -> None:
        """The service says everything again, from its first event."""
        for seen in (self._open, self._ended, self._arguments, self._authors, self._latest, self._complete):
            seen.clear()

    def refusal_of(self, call_id: str) -> str | None:
        """Why a call must not be run: `"cut"` with its answer, or `"half"` by itself; `None` for one that may."""
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
        """Whether a model call begins with the update. What trails one that has ended belongs to it."""
        if _service(update) is None:
            return False
        if update.response_id is not None:
            return update.response_id != self._ended.get(author)
        return any(content.type != "usage" for content in update.contents)

    def _follow(self, update: AgentResponseUpdate, author: str | None) -> bool:
        last = update.contents[-1].type if update.contents else None
        if last == "usage" and _service(update) == "openai":
            self._finish(update, author)  # It counts what the whole answer took; some servers give no reason beside it.
        elif last in _OF_THE_LOOP and _service(update) is None:
            self.cut_at = update
        return self.cut_at is not None


def _service(update: AgentResponseUpdate) -> str | None:
    """The package of the service's own event that the update was made of, where it is one that is known."""
    raw = update.raw_representation
    event = foreign_attribute(raw, "raw_representation") or raw
    return _package(cast("type[object]", type(event)))


@lru_cache(maxsize=256)
def _package(kind: type[object]) -> str | None:
    package = kind.__module__.partition(".")[0]
    return package if package in _SERVICES else None


class Guard(FunctionMiddleware):
    """Keeps a run from running the calls of an answer that was cut off, and calls whose arguments are not whole.

    Args:
        calls: The model calls of the run.
    """

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls

    async def process(self, context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]) -> None:
        """Run the call, if it may run.

        Raises:
            MiddlewareFailure: The answer that makes the call has no end.
        """
        match self._calls.refusal_of(str(context.metadata.get("call_id"))):
            case "cut":
                raise MiddlewareFailure("The answer of the model's service ended before it was complete.")
            case "half":
                context.result = NOT_PARSED
            case _:
                await call_next()
