"""A process that serves hostile agents: `python -m tests.hostile.process` prints where it listens, then its log.

`doors` as its argument serves them through every door, where the text of a request is what `metadata` says otherwise.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

from hostedagent import AgentHost, HostOptions, TurnRequest, current_turn
from hostedagent.agents import pump, source
from hostedagent.agents.pump import Pump
from hostedagent.cli.port import free_port
from hostedagent.doors import AgUi, ChatCompletions, Invocations
from hostedagent.stores.factory import Stores, memory_stores, postgres_stores, sqlite_stores
from hostedagent.testing import ScriptedAgent
from tests.hostile import raising, shapes
from tests.hostile.serving import STORES

ADDRESS = "127.0.0.1"

RUN_TIMEOUT = 1.0

SILENT = ("is silent", "is deaf to its cancellation")
"""What the time limit is for. The others may be slow, because the machine is."""

pump.STOP_SECONDS = source.CLOSE_SECONDS = 0.2  # pyright: ignore[reportAttributeAccessIssue]


def limit_the_silent() -> None:
    limited_pump: Any = Pump
    batch = limited_pump.batch

    async def limited(self: Any, patience: float | None = None) -> Any:
        told = current_turn().metadata
        what = told.get("shape") or f"{told.get('kind')} in {told.get('place')}"
        return await batch(self, patience if what in SILENT else None)

    limited_pump.batch = limited


def factory(request: TurnRequest) -> Any:
    """The agent that a request asks for; by default one that answers."""
    if "place" in request.metadata:
        return raising.agent(request)
    if "shape" in request.metadata:
        return shapes.SHAPES[request.metadata["shape"]]()
    return ScriptedAgent(["ok"])


def named_by_text(request: TurnRequest) -> TurnRequest:
    """The request with the metadata that its text is."""
    content = request.input[-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return replace(request, metadata=json.loads(text))


def make_host(*, doors: bool) -> AgentHost:
    """The host: on the SDK's driver, or with every door."""
    options = HostOptions(shutdown_grace=0, run_timeout=RUN_TIMEOUT)
    if not doors:
        return AgentHost(factory, options=options, hooks=raising.hooks(), stores=chosen_stores())
    served = [AgUi(before_run=named_by_text), Invocations(before_run=named_by_text)]
    chat = ChatCompletions(before_run=named_by_text)
    given: dict[str, Any] = {"options": options, "hooks": raising.hooks(), "stores": chosen_stores()}
    return AgentHost(factory, doors=[*served, chat], driver="starlette", **given)


def chosen_stores() -> Stores:
    """The stores that the tests were started with; in memory by default."""
    match json.loads(os.environ.get(STORES, "{}")):
        case {"sqlite": path}:
            return sqlite_stores(path)
        case {"postgres": dsn, "schema": schema}:
            return postgres_stores(dsn, schema=schema)
        case _:
            return memory_stores()


def main() -> None:
    limit_the_silent()
    host = make_host(doors="doors" in sys.argv)
    port = free_port(ADDRESS, 0)
    host.run(host=ADDRESS, port=port, on_listening=lambda: print(f"http://{ADDRESS}:{port}", flush=True))
    print("ended", flush=True)


if __name__ == "__main__":
    main()
