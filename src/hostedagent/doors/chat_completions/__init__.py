"""Chat Completions, for clients that speak nothing newer."""

from __future__ import annotations

from hostedagent.doors.chat_completions.door import ChatCompletions

__all__ = ["ChatCompletions"]
