"""The thinnest adapter there can be on the SDK's host: it runs the agent and sends its text, and nothing else.

No session, no tool call on the wire or in the history, no error of its own, no usage, no limit: what is left is what
every adapter pays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import settings
from agent_framework import Message
from azure.ai.agentserver.responses import InMemoryResponseProvider, ResponseEventStream, ResponsesAgentServerHost
from model import agent
from told import last_text

SERVED = agent()
app = ResponsesAgentServerHost(store=InMemoryResponseProvider(), **settings.sdk_keywords())


async def messages(request: Any, context: Any) -> list[Message]:
    """The history, if there is one, and what is new: texts, and nothing else."""
    history = await context.get_history() if request.get("previous_response_id") else ()
    earlier = [Message(item["role"], [part["text"] for part in item["content"]]) for item in history]
    return [*earlier, Message("user", [last_text(request)])]


@app.response_handler
async def handle(request: Any, context: Any, cancellation_signal: asyncio.Event) -> AsyncIterator[Any]:
    stream = ResponseEventStream(response_id=context.response_id, request=request)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    message = stream.add_output_item_message()
    yield message.emit_added()
    text = message.add_text_content()
    yield text.emit_added()
    said: list[str] = []
    async for update in SERVED.run(await messages(request, context), stream=True):
        for content in update.contents:
            if content.type == "text" and content.text:
                said.append(content.text)
                yield {
                    "type": "response.output_text.delta",
                    "item_id": message.item_id,
                    "output_index": message.output_index,
                    "content_index": text.content_index,
                    "delta": content.text,
                    "logprobs": [],
                }
    yield text.emit_text_done("".join(said))
    yield text.emit_done()
    yield message.emit_done()
    yield stream.emit_completed()


if __name__ == "__main__":
    app.run(host=settings.HOST, port=settings.PORT)
