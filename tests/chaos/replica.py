"""A replica that is not spared. It prints a line and serves.

`python -m tests.chaos.replica DSN ADDRESS PORT LEASE EFFECTS`
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent_framework import Agent, Content, tool

from hostedagent import AgentHost, HostOptions, current_turn
from hostedagent.stores.factory import postgres_stores
from hostedagent.testing import OfflineChatClient

WORDS: Final = 12
PAUSE: Final = 0.04


class Payments:
    """A service with side effects that everyone can count, and that takes idempotency keys.

    A payment is a file in a folder; each call under its key is a line in it, of which the first one pays.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pay(self, token: str, key: str) -> str:
        with (self._folder / f"{token} {key}").open("a") as file:
            file.write("asked\n")
        return f"paid {token}"


payments = Payments(Path(sys.argv[5]) if len(sys.argv) > 5 else Path())


async def _pay(token: str) -> str:
    turn = current_turn()
    done = await turn.effect(f"pay {token}", lambda: payments.pay(token, turn.response_id), repeats=True)
    return str(done)


@tool
async def pay(token: str) -> str:
    """Pay."""
    return await _pay(token)


@tool(approval_mode="always_require")
async def transfer(token: str) -> str:
    """Pay, when somebody has said yes."""
    return await _pay(token)


def answer(messages: Sequence[Any], _: Any) -> list[Any]:
    heard = [message.text for message in messages if message.role == "user" and message.text]
    kind, token = heard[-1].split()
    if kind in ("pay", "transfer") and messages[-1].role == "user" and messages[-1].text:
        return [Content.from_function_call(f"call_{token}", kind, arguments=json.dumps({"token": token}))]
    words = [piece for n in range(WORDS) for piece in (f"w{n} ", lambda: asyncio.sleep(PAUSE))]
    return [*words, json.dumps([text.split()[1] for text in heard])]


def make() -> Agent:
    return Agent(OfflineChatClient(script=[answer] * 4), tools=[pay, transfer])


def main() -> None:
    dsn, address, port, lease = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    stores = postgres_stores(dsn, pool_size=5, timeout=5.0)
    stores = replace(stores, leases=replace(stores.leases, seconds=lease, renew_every=lease / 4))
    options = HostOptions(resilient_background=True, shutdown_grace=0.2, max_turns=8, max_waiting=50, max_queued=500)
    host = AgentHost(make, driver="starlette", stores=stores, options=options)
    host.run(host=address, port=port, on_listening=lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
