"""Talks to a container as a neighbour in its network namespace, which has nothing but loopback.

    nsenter --target PID --net -- python tests/deploy/inside.py ready|answers|ask PID

Prints one JSON value: when the container was ready, or what it answers instead; or what a streamed turn gave.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path

PORT = 8088
PATIENCE = 90
UNTIL = time.monotonic() + PATIENCE


def ready(pid: str) -> float:
    """When `/readiness` was answered with 200, on the machine's monotonic clock."""
    while _answer(pid)[0] != 200:
        time.sleep(0.02)
    return time.monotonic()


def answers(pid: str) -> tuple[int, str]:
    """The first answer of `/readiness`, whatever it is: status and body."""
    while not (answer := _answer(pid))[0]:
        time.sleep(0.02)
    return answer


def _answer(pid: str) -> tuple[int, str]:
    """The answer of `/readiness`; 0 for none."""
    if time.monotonic() > UNTIL:
        raise TimeoutError(f"not after {PATIENCE} s")
    if not Path(f"/proc/{pid}").exists():
        raise ProcessLookupError("the container's process ended")
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/readiness")
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


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
    print(json.dumps({"ready": ready, "answers": answers, "ask": ask}[sys.argv[1]](sys.argv[2])))
