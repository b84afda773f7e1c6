"""The Foundry storage API in a process of its own: says how to reach it, and on SIGUSR1 which calls have come."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

from hostedagent.emulator import Emulator

FOLDER = Path(os.environ["BENCH_ROOT"])
LATENCY = float(os.environ["BENCH_LATENCY"])


def write(name: str, value: object) -> None:
    part = FOLDER / f"{name}.part"
    part.write_text(json.dumps(value))
    part.rename(FOLDER / f"{name}.json")


async def main() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Emulator(latency=LATENCY) as emulator:

        def tell() -> None:
            write("calls", Counter(emulator.log.routes))
            emulator.log.clear()

        loop.add_signal_handler(signal.SIGUSR1, tell)
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        write("environment", emulator.environment)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
