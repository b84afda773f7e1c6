"""`hostedagent` as it is shipped, on the SDK's host."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import settings
from model import agent

from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import Stores, foundry_stores, memory_stores, sqlite_stores


def stores() -> Stores:
    match settings.STORE:
        case "file":  # What the others keep in files.
            return sqlite_stores(Path(settings.ROOT) / "state.db")
        case "foundry":
            return foundry_stores()
        case _:
            return memory_stores()


def serve(driver: Literal["agentserver", "starlette"]) -> None:
    options = HostOptions(keep_alive=settings.KEEP_ALIVE) if settings.KEEP_ALIVE else None
    host = AgentHost(agent(), stores=stores(), options=options, driver=driver)
    host.run(host=settings.HOST, port=settings.PORT)


if __name__ == "__main__":
    serve("agentserver")
