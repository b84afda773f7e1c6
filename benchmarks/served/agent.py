"""The agent alone: the same request to the same agent, in a server that does next to nothing else.

Its few lines of HTTP cost some 0.1 ms a request; there is no protocol, no storage and nothing for each event.
"""

from __future__ import annotations

import asyncio
import json
import re

import settings
from agent_framework import Message
from model import agent
from told import last_text

SERVED = agent()
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n" + b'{"status":"completed"}'


async def run(body: bytes) -> None:
    request = json.loads(body)
    message = Message("user", [last_text(request)])
    if request.get("stream"):
        async for _ in SERVED.run([message], stream=True):
            pass
    else:
        await SERVED.run([message])


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length is not None:
                await run(await reader.readexactly(int(length[1])))
            writer.write(_OK)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    async with await asyncio.start_server(serve, settings.HOST, settings.PORT, limit=2**20) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
