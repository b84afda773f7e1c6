"""What a scripted model says, in values that know nothing of any provider's wire format.

A `Turn` is one answer of the model: parts in the order the model produces them, how the turn ends and what it cost.
`HttpError` is an answer that never becomes a turn. The builders next to this module turn both into wire events.
Deltas are made by default, so that every scripted text also exercises a client's joining of fragments.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]


class Gate:
    """A stop inside a stream: the test waits until it is reached, looks around, and opens it."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Wait until the server has sent everything before the gate."""
        await self._reached.wait()

    def open(self) -> None:
        """Let the stream go on."""
        self._opened.set()

    async def pass_through(self) -> None:
        """The server's side: say that the gate is reached and wait for it to open."""
        self._reached.set()
        await self._opened.wait()


class Break(Gate):
    """The connection breaks here, once; a provider that works in the background goes on without it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_broken = False

    async def pass_through(self) -> None:
        """Break when it is met first."""
        if not self.has_broken:
            self.has_broken = True
            raise ConnectionResetError("the connection broke where the script says so")


Wire = Json | Gate


def words(text: str) -> tuple[str, ...]:
    """Cut a text before each word, as models stream it; the pieces join to the very same text."""
    return tuple(re.findall(r"\s*\S+(?:\s+$)?|\s+", text))


def slices(text: str, size: int = 7) -> tuple[str, ...]:
    """Cut machine text (JSON, code) at places that mean nothing, as models stream it."""
    return tuple(text[start : start + size] for start in range(0, len(text), size))


def gated(events: list[Json], gate: Gate | None) -> list[Wire]:
    """Put the gate behind the first event, where a client has seen a part begin but not end."""
    return [*events] if gate is None else [*events[:1], gate, *events[1:]]


def _check_chunks(whole: str, chunks: tuple[str, ...] | None) -> None:
    if chunks is not None and "".join(chunks) != whole:
        raise ValueError(f"the chunks {chunks!r} do not join to {whole!r}")


@dataclass(frozen=True, slots=True)
class UrlCitation:
    """A citation of a web page for the characters from `start` to `end`."""

    url: str
    title: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class FileCitation:
    """A citation of an uploaded file, at the character `index`."""

    file_id: str
    filename: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class ContainerFileCitation:
    """A citation of a file that the code interpreter made."""

    container_id: str
    file_id: str
    filename: str
    start: int = 0
    end: int = 0


Annotation = UrlCitation | FileCitation | ContainerFileCitation


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the user; one content part. `gate` stops the stream after the first delta."""

    text: str
    chunks: tuple[str, ...] | None = field(default=None, kw_only=True)
    annotations: tuple[Annotation, ...] = field(default=(), kw_only=True)
    gate: Gate | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_chunks(self.text, self.chunks)

    @property
    def deltas(self) -> tuple[str, ...]:
        """The text in the pieces it is streamed in."""
        return words(self.text) if self.chunks is None else self.chunks


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines."""

    text: str

    @property
    def deltas(self) -> tuple[str, ...]:
        """The text in the pieces it is streamed in."""
        return words(self.text)


@dataclass(frozen=True, slots=True)
class Message:
    """Several content parts in one message item; a bare `Text` or `Refusal` is a message of its own."""

    parts: tuple[Text | Refusal, ...]


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Reasoning: summary parts, raw text, and what the provider wants back (ciphertext or signature)."""

    summary: tuple[str, ...] = ()
    raw: tuple[str, ...] = field(default=(), kw_only=True)
    encrypted: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function of the client. A string of arguments goes out as it is, however broken."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    call_id: str | None = field(default=None, kw_only=True)
    chunks: tuple[str, ...] | None = field(default=None, kw_only=True)
    gate: Gate | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_chunks(self.json, self.chunks)

    @property
    def json(self) -> str:
        """The arguments as the model writes them."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))

    @property
    def deltas(self) -> tuple[str, ...]:
        """The arguments in the pieces they are streamed in."""
        return slices(self.json) if self.chunks is None else self.chunks

    def id_at(self, number: int, index: int, prefix: str = "call") -> str:
        """The id of the call: the scripted one, or one made of its place."""
        return self.call_id or f"{prefix}_{number}_{index}"


@dataclass(frozen=True, slots=True)
class WebSearch:
    """A search of the web, done by the provider."""

    query: str
    sources: tuple[str, ...] = ()
    status: Literal["completed", "failed"] = "completed"


@dataclass(frozen=True, slots=True)
class FileSearch:
    """A search of a vector store, done by the provider."""

    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeInterpreter:
    """Code the provider runs, and its logs."""

    code: str
    logs: str | None = None
    container_id: str = "cntr_1"


@dataclass(frozen=True, slots=True)
class ImageGeneration:
    """An image the provider draws: base64 of the result, and of the previews before it."""

    result: str
    partials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class McpListTools:
    """The provider asked an MCP server for its tools."""

    server: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class McpCall:
    """A tool of an MCP server, called by the provider."""

    server: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class McpApprovalRequest:
    """The provider asks before it calls a tool of an MCP server."""

    server: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


Part = (
    Text
    | Refusal
    | Message
    | Reasoning
    | ToolCall
    | WebSearch
    | FileSearch
    | CodeInterpreter
    | ImageGeneration
    | McpListTools
    | McpCall
    | McpApprovalRequest
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn; `cached` are part of `input`, `reasoning` of `output`."""

    input: int = 10
    output: int = 5
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Completed:
    """The model said all it wanted."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The model was stopped; the last part is short of its end."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn failed after the stream began; the last part stays open."""

    code: str = "server_error"
    message: str = "The server had an error while processing your request."


@dataclass(frozen=True, slots=True)
class StreamError:
    """A bare error event in the stream instead of an end; the last part stays open."""

    code: str = "server_error"
    message: str = "An error occurred while processing your request."


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection breaks: no end, no error; the last part stays open."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The service closes a stream in good order before its end; the last part stays open. `at_once`: without a word."""

    at_once: bool = False


End = Completed | Incomplete | Failed | StreamError | Dropped | Closed


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model."""

    parts: tuple[Part, ...]
    end: End = field(default_factory=Completed, kw_only=True)
    usage: Usage = field(default_factory=Usage, kw_only=True)

    @property
    def is_cut(self) -> bool:
        """Whether the last part never gets its closing events."""
        return isinstance(self.end, Failed | StreamError | Dropped | Closed)

    @property
    def calls_tools(self) -> bool:
        """Whether the client has something to do before the model goes on."""
        return any(isinstance(part, ToolCall) for part in self.parts)

    def sent_arguments(self, number: int, prefix: str = "call") -> dict[str, str]:
        """The arguments of every call of the turn, by call id."""
        places = enumerate(self.parts)
        return {part.id_at(number, index, prefix): part.json for index, part in places if isinstance(part, ToolCall)}


@dataclass(frozen=True, slots=True)
class HttpError:
    """An answer with an error status instead of a turn."""

    status: int
    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    inner: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


RATE_LIMITED = HttpError(429, "Rate limit reached for requests", "rate_limit_exceeded", headers={"retry-after": "7"})
UNAUTHORIZED = HttpError(401, "Incorrect API key provided: k.", "invalid_api_key")
INVALID_PROMPT = HttpError(400, "Invalid prompt: your prompt was flagged.", "invalid_prompt", param="prompt")
SERVER_ERROR = HttpError(500, "The server had an error while processing your request.", "server_error")
OVERLOADED = HttpError(529, "Overloaded", "overloaded")
CONTENT_FILTERED = HttpError(
    400,
    "The response was filtered due to the prompt triggering the content management policy.",
    "content_filter",
    param="prompt",
    inner={
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
    },
)

Reply = Turn | HttpError


def turn(*parts: Part, end: End | None = None, usage: Usage | None = None) -> Turn:
    """One answer of the model from its parts."""
    return Turn(parts, end=end or Completed(), usage=usage or Usage())


def as_reply(value: Reply | Part) -> Reply:
    """A part alone stands for a turn of only that part."""
    return value if isinstance(value, Turn | HttpError) else turn(value)


class NotExpressibleError(AssertionError):
    """The script asks a provider for a part that its protocol does not have."""

    def __init__(self, provider: str, part: object) -> None:
        super().__init__(f"{provider} cannot express {part!r}: script another provider or leave the part out")
