"""The features of each door: the table of `docs/doors-compared.md`, written by `docs/generate.py`."""

from __future__ import annotations

from typing import Final

FEATURES: Final = ("stream", "tools", "approvals", "questions", "files", "resume", "cancel", "identity", "conversation")

_HEADERS: Final = "headers of each request, as `resolve_scope` reads them"

DOORS: Final[dict[str, dict[str, str]]] = {
    "Responses": {
        "stream": "yes",
        "tools": "the agent's and the caller's",
        "approvals": "`mcp_approval_request`",
        "questions": "`function_call`",
        "files": "images, files, audio",
        "resume": "background streams, from any event",
        "cancel": "background turns; others end with their connection",
        "identity": _HEADERS,
        "conversation": "`conversation`, `previous_response_id`",
    },
    "WebSocket": {
        "stream": "always",
        "tools": "the agent's and the caller's",
        "approvals": "`mcp_approval_request`",
        "questions": "`function_call`",
        "files": "images, files, audio",
        "resume": "no: turns end with the connection",
        "cancel": "by closing the connection",
        "identity": "headers of the handshake",
        "conversation": "`conversation`, `previous_response_id`",
    },
    "`/chat/completions`": {
        "stream": "yes",
        "tools": "the caller's; calls of the agent's own are not shown",
        "approvals": "no: the protocol cannot express them; in a `conversation`, answer through another door",
        "questions": "no, for the same reason",
        "files": "images, files, audio",
        "resume": "no",
        "cancel": "by closing the connection",
        "identity": _HEADERS,
        "conversation": "the client sends all messages; with `conversation`, the new ones",
    },
    "Invocations": {
        "stream": "the text and the questions",
        "tools": "the agent's, not shown; no tools of the caller",
        "approvals": "`questions`, answered in `responses`",
        "questions": "`questions`, answered in `responses`",
        "files": "as items of `input`; none in the answer",
        "resume": "no events; `GET /invocations/{id}` has the answer",
        "cancel": "every invocation",
        "identity": _HEADERS,
        "conversation": "the session, or `conversation`",
    },
    "AG-UI": {
        "stream": "always",
        "tools": "the agent's and the front end's",
        "approvals": "interrupts",
        "questions": "interrupts with a schema",
        "files": "images, documents, audio; in the answer as `CUSTOM`",
        "resume": "`AgUi(resumable=True)`: the run from its beginning",
        "cancel": "by closing the connection, unless it is resumable",
        "identity": _HEADERS,
        "conversation": "the thread",
    },
    "`Turns`": {
        "stream": "yes",
        "tools": "the agent's and the caller's",
        "approvals": "`mcp_approval_request`",
        "questions": "`function_call`",
        "files": "images, files, audio",
        "resume": "`replay`, of background streams",
        "cancel": "`cancel`, `stop`",
        "identity": "the application's",
        "conversation": "`conversation`, `previous_response_id`",
    },
}
"""Each door's support of each feature; one that it lacks begins with "no"."""
