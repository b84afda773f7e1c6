"""The SDK's host with the same events and no agent: what any adapter on it costs at least.

Deltas are plain dicts, which the SDK accepts and which cost it least; the other events come from its builders.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import settings
from azure.ai.agentserver.responses import (
    FileResponseStore,
    InMemoryResponseProvider,
    ResponseEventStream,
    ResponsesAgentServerHost,
)
from told import WORD, Told, last_text

STORED: dict[str, Any] = {
    "memory": InMemoryResponseProvider,
    "file": lambda: FileResponseStore(settings.ROOT),
    "foundry": lambda: None,
}
"""The store of each kind; `None` is the SDK's own choice for a hosted process."""

app = ResponsesAgentServerHost(store=STORED[settings.STORE](), **settings.sdk_keywords())


@app.response_handler
async def handle(request: Any, context: Any, cancellation_signal: asyncio.Event) -> AsyncIterator[Any]:
    told = Told.by(last_text(request))
    if request.get("previous_response_id"):
        await context.get_history()
    stream = ResponseEventStream(response_id=context.response_id, request=request)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    if told.calls_tool:
        for event in stream.output_item_function_call("lookup", "call_1", '{"city": "Paris"}'):
            yield event
        for event in stream.output_item_function_call_output("call_1", "Sunny in Paris."):
            yield event
    message = stream.add_output_item_message()
    yield message.emit_added()
    text = message.add_text_content()
    yield text.emit_added()
    delta: dict[str, Any] = {
        "type": "response.output_text.delta",
        "item_id": message.item_id,
        "output_index": message.output_index,
        "content_index": text.content_index,
        "delta": WORD,
        "logprobs": [],
    }
    for _ in range(told.words):
        if told.pause:
            await asyncio.sleep(told.pause)
        yield dict(delta)
    yield text.emit_text_done(WORD * told.words)
    yield text.emit_done()
    yield message.emit_done()
    yield stream.emit_completed()


if __name__ == "__main__":
    app.run(host=settings.HOST, port=settings.PORT)
