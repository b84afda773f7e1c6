"""Talks to a container as a neighbour in its network namespace, which has nothing but loopback.

    nsenter --target PID --net -- python tests/deploy/inside.py ready|ask PID

Prints one JSON value: when the container was ready, on the machine's monotonic clock; or what a streamed turn gave.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path

PORT = 8088
PATIENCE = 90


def ready(pid: str) -> float:
    """Ask until the answer is 200."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not Path(f"/proc/{pid}").exists():
            raise ProcessLookupError("it ended")
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        try:
            connection.request("GET", "/readiness")
            if connection.getresponse().status == 200:
                return time.monotonic()
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise TimeoutError(f"not ready after {PATIENCE} s")


def ask(_: str) -> dict[str, object]:
    """Two turns by the `openai` client: the second is streamed and goes on from the first."""
    from openai import OpenAI

    client = OpenAI(base_url=f"http://127.0.0.1:{PORT}", api_key="unused", timeout=PATIENCE)
    first = client.responses.create(input="My name is Ada.")
    types: list[str] = []
    deltas: list[str] = []
    with client.responses.stream(model="any", input="What is my name?", previous_response_id=first.id) as events:
        for event in events:
            types.append(event.type)
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
    return {"types": types, "deltas": deltas}


if __name__ == "__main__":
    print(json.dumps({"ready": ready, "ask": ask}[sys.argv[1]](sys.argv[2])))
