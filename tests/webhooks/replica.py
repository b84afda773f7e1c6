"""A replica with a webhook: `python -m tests.webhooks.replica DSN SCHEMA URL`. It prints its address and serves."""

from __future__ import annotations

import socket
import sys

from hostedagent import AgentHost, Hooks, Webhook, postgres_stores
from hostedagent.testing import ScriptedAgent
from tests.webhooks.receiver import SECRET


def main() -> None:
    dsn, schema, url = sys.argv[1:]
    stores = postgres_stores(dsn, schema=schema)
    hooks = Hooks(on_outcome=Webhook(url, secret=SECRET))
    host = AgentHost(ScriptedAgent(*["ok"] * 20), driver="starlette", stores=stores, hooks=hooks)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        host.run(listener=listener, on_listening=lambda: print(address, flush=True))


if __name__ == "__main__":
    main()
