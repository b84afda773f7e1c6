"""A small host on the bare SDK, the subject on which the test kit proves itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from azure.ai.agentserver.responses import InMemoryResponseProvider, ResponseEventStream, ResponsesAgentServerHost

USAGE: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


class BareHost:
    """Answers `Hello`, a function call and a thought. `hold` in the metadata stops it after the first delta."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.app = ResponsesAgentServerHost(store=InMemoryResponseProvider(), configure_observability=None)
        self.app.response_handler(self._answer)

    async def _answer(self, request: Any, context: Any, cancellation_signal: asyncio.Event) -> AsyncIterator[Any]:
        metadata: dict[str, str] = request.get("metadata") or {}
        mode = metadata.get("mode")
        stream = ResponseEventStream(response_id=context.response_id, request=request)
        yield stream.emit_created()
        yield stream.emit_in_progress()
        message = stream.add_output_item_message()
        yield message.emit_added()
        text = message.add_text_content()
        yield text.emit_added()
        yield text.emit_delta("Hel")
        if mode == "hold":
            waits = [asyncio.ensure_future(event.wait()) for event in (self.release, cancellation_signal)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if cancellation_signal.is_set():
                self.cancelled.set()
        if mode == "break":
            raise RuntimeError("broken on purpose")
        yield text.emit_delta("lo")
        for event in (text.emit_text_done(), text.emit_done(), message.emit_done()):
            yield event
        for event in stream.output_item_function_call("get_weather", "call_abc", '{"city":"Paris"}'):
            yield event
        for event in stream.output_item_reasoning_item("Let me see."):
            yield event
        yield stream.emit_completed(usage=USAGE)


def body(mode: str | None = None, **more: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": "m", "input": "hi", "metadata": {"mode": mode} if mode else {}, **more}
