# pyright: basic, reportMissingImports=false
"""`hostedagent` on an ASGI server of choice; only to compare servers, for none of the others knows how a host ends."""

from __future__ import annotations

import asyncio
import os

import settings
from azure.ai.agentserver.responses import ResponsesAgentServerHost
from model import agent
from ours import stores

from hostedagent import AgentHost


def serve(server: str) -> None:
    app = AgentHost(agent(), stores=stores()).app
    kind, _, part = server.partition("-")
    match kind:
        case "uvicorn":
            import uvicorn

            loop, http = ("uvloop", "httptools") if part == "uvloop" else ("asyncio", part)
            uvicorn.run(app, host=settings.HOST, port=settings.PORT, loop=loop, http=http, ws="none", access_log=False)
        case "granian":
            from granian.constants import Interfaces
            from granian.server.embed import Server

            asyncio.run(Server(app, address=settings.HOST, port=settings.PORT, interface=Interfaces.ASGI).serve())
        case _:
            if part == "uvloop":
                import uvloop

                uvloop.install()
            assert isinstance(app, ResponsesAgentServerHost)
            app.run(host=settings.HOST, port=settings.PORT)


if __name__ == "__main__":
    serve(os.environ["BENCH_SERVER"])
