"""A process to be stopped: `python -m tests.lifecycle.process ROOT GRACE plain|resilient` serves, and tells.

It prints a JSON line for each thing that happens, and reads the words whose answers may go on from its input.
"""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

from hostedagent import AgentHost, HostOptions
from hostedagent.cli.port import free_port
from hostedagent.stores.factory import Stores, postgres_stores, sqlite_stores
from tests.lifecycle.subject import Gates, Subject
from tests.patience import be_patient

ADDRESS = "127.0.0.1"


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


class ToldGates(Gates):
    """Gates that are opened from outside."""

    loop: asyncio.AbstractEventLoop

    def asked(self, word: str, response_id: str) -> None:
        tell(asked=word, id=response_id)

    async def hold(self, word: str) -> None:
        self.loop = asyncio.get_running_loop()
        await super().hold(word)

    def held(self, word: str) -> None:
        tell(held=word)

    def stopped(self, word: str) -> None:
        tell(stopped=word)

    def listen(self) -> None:
        for line in sys.stdin:
            self.loop.call_soon_threadsafe(self.open, line.strip())


def stores_of(root: Path) -> Stores:
    """The stores of a folder: a database that is named in it, or a file."""
    if (named := root / "postgres.json").exists():
        return postgres_stores(**json.loads(named.read_text()))
    return sqlite_stores(root / "state.db")


def main(root: Path, grace: float, *, is_resilient: bool) -> None:
    be_patient()
    gates = ToldGates()
    threading.Thread(target=gates.listen, daemon=True).start()
    subject = Subject(gates)
    options = HostOptions(shutdown_grace=grace, resilient_background=is_resilient)
    host = AgentHost(subject, options=options, stores=stores_of(root), hooks=subject.hooks)
    host.app.register_pre_shutdown_callback(lambda: tell(at="told to stop"))
    port = free_port(ADDRESS, 0)
    host.run(host=ADDRESS, port=port, on_listening=lambda: tell(at="listening", url=f"http://{ADDRESS}:{port}"))
    tell(at="stopped")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), is_resilient=sys.argv[3] == "resilient")
