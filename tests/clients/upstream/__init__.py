"""A fake of three model providers, to run real chat clients over loopback HTTP.

    async with Upstream() as upstream:
        upstream.script(ToolCall("weather", {"city": "Paris"}), Text("It is sunny."))
        agent = Agent(client=responses_client(upstream), tools=[weather])
        await agent.run("How is the weather in Paris?")

The values of the script know no provider: the endpoint that a client calls decides the wire format. Requests are
checked against the provider's rules, and the block fails for a broken rule and for a script too short or too long.

`turn(*parts, end=, usage=)` is one answer of several parts, `HttpError` an answer with an error status, a `Gate` in a
part holds the stream there, a `Break` ends it there once, and `when(word, ...)` scripts conversations that run side by
side. `upstream.transcripts` shows each request in short lines, the same for every provider; `upstream.requests` has the
bodies as they came.
"""

from .clients import anthropic_client, chat_completion_client, foundry_client, responses_client
from .rules import BrokenRuleError, Ledger, check_anthropic_messages, check_chat_completions, check_openai_responses
from .server import Call, Upstream
from .values import (
    CONTENT_FILTERED,
    INVALID_PROMPT,
    OVERLOADED,
    RATE_LIMITED,
    SERVER_ERROR,
    UNAUTHORIZED,
    Break,
    Closed,
    CodeInterpreter,
    Completed,
    ContainerFileCitation,
    Dropped,
    Failed,
    FileCitation,
    FileSearch,
    Gate,
    HttpError,
    ImageGeneration,
    Incomplete,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    Message,
    NotExpressibleError,
    Part,
    Reasoning,
    Refusal,
    Reply,
    StreamError,
    Text,
    ToolCall,
    Turn,
    UrlCitation,
    Usage,
    WebSearch,
    turn,
)

__all__ = [
    "CONTENT_FILTERED",
    "INVALID_PROMPT",
    "OVERLOADED",
    "RATE_LIMITED",
    "SERVER_ERROR",
    "UNAUTHORIZED",
    "Break",
    "BrokenRuleError",
    "Call",
    "Closed",
    "CodeInterpreter",
    "Completed",
    "ContainerFileCitation",
    "Dropped",
    "Failed",
    "FileCitation",
    "FileSearch",
    "Gate",
    "HttpError",
    "ImageGeneration",
    "Incomplete",
    "Ledger",
    "McpApprovalRequest",
    "McpCall",
    "McpListTools",
    "Message",
    "NotExpressibleError",
    "Part",
    "Reasoning",
    "Refusal",
    "Reply",
    "StreamError",
    "Text",
    "ToolCall",
    "Turn",
    "Upstream",
    "UrlCitation",
    "Usage",
    "WebSearch",
    "anthropic_client",
    "chat_completion_client",
    "check_anthropic_messages",
    "check_chat_completions",
    "check_openai_responses",
    "foundry_client",
    "responses_client",
    "turn",
]
