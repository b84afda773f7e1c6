"""The three providers side by side: where each listens, how it speaks and what it checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from . import anthropic_messages, chat_completions, openai_responses
from .rules import Ledger, check_anthropic_messages, check_chat_completions, check_openai_responses
from .values import Completed, HttpError, Incomplete, Json, Turn, Wire


@dataclass(frozen=True, slots=True)
class Provider:
    """One endpoint: builders of both kinds of answer, the shape of an error, the rules, and how call ids begin."""

    stream: Callable[[Turn, int, Json], list[Wire]]
    whole: Callable[[Turn, int, Json], Json]
    error: Callable[[HttpError], Json]
    check: Callable[[Json, Ledger | None], None]
    call_prefix: str
    names_events: bool = True
    keeps_responses: bool = False
    farewell: bytes = b""

    def frame(self, event: Json) -> bytes:
        """One event as server-sent bytes."""
        name = f"event: {event['type']}\n" if self.names_events else ""
        return f"{name}data: {json.dumps(event)}\n\n".encode()

    def farewell_to(self, turn: Turn) -> bytes:
        """What follows the last event of a turn that ended well."""
        return self.farewell if isinstance(turn.end, Completed | Incomplete) else b""

    def remember(self, ledger: Ledger, turn: Turn, number: int, request: Json) -> None:
        """Keep what the provider knows of its own answer for the checks of later requests."""
        ledger.arguments.update(turn.sent_arguments(number, self.call_prefix))
        if self.keeps_responses and request.get("store") is not False:
            before = ledger.transcripts.get(request.get("previous_response_id") or "", [])
            exchange = openai_responses.exchange(turn, number, request)
            ledger.transcripts[f"resp_{number}"] = [*before, *exchange]


OPENAI_ERROR_TYPES = {401: "invalid_request_error", 429: "requests", 500: "server_error"}


def _openai_error(error: HttpError) -> Json:
    type_ = error.type or OPENAI_ERROR_TYPES.get(error.status, "invalid_request_error")
    body: Json = {"message": error.message, "type": type_, "param": error.param, "code": error.code}
    return {"error": body if error.inner is None else {**body, "innererror": error.inner}}


def _anthropic_error(error: HttpError) -> Json:
    return anthropic_messages.error_body(error.status, error.message)


RESPONSES = Provider(
    stream=openai_responses.stream,
    whole=openai_responses.whole,
    error=_openai_error,
    check=check_openai_responses,
    call_prefix="call",
    keeps_responses=True,
)
CHAT_COMPLETIONS = Provider(
    stream=chat_completions.stream,
    whole=chat_completions.whole,
    error=_openai_error,
    check=check_chat_completions,
    call_prefix="call",
    names_events=False,
    farewell=b"data: [DONE]\n\n",
)
ANTHROPIC = Provider(
    stream=anthropic_messages.stream,
    whole=anthropic_messages.whole,
    error=_anthropic_error,
    check=check_anthropic_messages,
    call_prefix="toolu",
)

PROVIDERS = {
    "/v1/responses": RESPONSES,
    "/v1/chat/completions": CHAT_COMPLETIONS,
    "/v1/messages": ANTHROPIC,
}
