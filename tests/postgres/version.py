"""A replica of this version or of the one before: `python -m tests.postgres.version DSN SCHEMA earlier|newest`.

The one before is this code without the newest migration: it creates and expects the tables before that. It prints the
version of the tables that it asks for and its address, and serves.
"""

from __future__ import annotations

import socket
import sys

from agent_framework import Agent

from hostedagent import AgentHost, HostOptions, postgres_stores
from hostedagent.stores.postgres import migrations
from hostedagent.testing import OfflineChatClient


def main() -> None:
    dsn, schema, version = sys.argv[1:]
    if version == "earlier":
        for name, value in (("MIGRATIONS", migrations.MIGRATIONS[:-1]), ("VERSION", migrations.VERSION - 1)):
            setattr(migrations, name, value)
    host = AgentHost(
        Agent(OfflineChatClient()),
        driver="starlette",
        stores=postgres_stores(dsn, schema=schema, pool_size=4),
        options=HostOptions(resilient_background=True, max_turns=4, max_waiting=100, max_queued=100),
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        host.run(listener=listener, on_listening=lambda: print(migrations.VERSION, url, flush=True))


if __name__ == "__main__":
    main()
