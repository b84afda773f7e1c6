"""The agent alone: the same request to the same agent, in a server that does next to nothing else.

Its few lines of HTTP cost some 0.1 ms a request; there is no protocol, no storage and nothing for each event. What was
said before is a list of messages.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import settings
from agent_framework import Message
from model import agent
from told import last_text

SERVED = agent()
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SAID: dict[str, list[Message]] = {}


async def run(body: bytes) -> bytes:
    request = json.loads(body)
    messages = [*_SAID.get(request.get("previous_response_id"), ()), *given(request["input"])]
    if request.get("stream"):
        said = "".join([update.text async for update in SERVED.run(messages, stream=True)])
    else:
        said = (await SERVED.run(messages)).text
    response_id = f"resp_{len(_SAID)}"
    _SAID[response_id] = [*messages, Message("assistant", [said])]
    return json.dumps({"id": response_id, "status": "completed"}).encode()


def given(value: Any) -> list[Message]:
    """The messages of an input."""
    rows = [{"role": "user", "content": value}] if isinstance(value, str) else value
    return [Message(row["role"], [last_text({"input": [row]})]) for row in rows]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            answer = await run(await reader.readexactly(int(length[1]))) if length is not None else b"{}"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    async with await asyncio.start_server(serve, settings.HOST, settings.PORT, limit=2**20) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
