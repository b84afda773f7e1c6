"""`hostedagent`, as it is shipped."""

from __future__ import annotations

from pathlib import Path

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


if __name__ == "__main__":
    options = HostOptions(keep_alive=settings.KEEP_ALIVE) if settings.KEEP_ALIVE else None
    AgentHost(agent(), stores=stores(), options=options).run(host=settings.HOST, port=settings.PORT)
