"""A process that talks in one conversation on sqlite until it is killed: `python -m tests.crash.talker PATH FIRST`.

It prints each turn before it begins, and after its caller was told how it ended with what the agent was given.
"""

import asyncio
import json
import sys
from typing import Any

from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream

from hostedagent import AgentHost
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import InProcessClient, ScriptedAgent, serve


class Repeats(ScriptedAgent):
    """Answers with everything that it was given, as JSON."""

    def run(self, messages: Any = None, **kwargs: Any) -> Any:
        async def updates() -> Any:
            heard = [f"{message.role}: {message.text}" for message in messages if message.role == "user"]
            answers = sum(message.role == "assistant" for message in messages)
            yield AgentResponseUpdate(contents=[Content.from_text(json.dumps([heard, answers]))], role="assistant")

        return ResponseStream(updates(), finalizer=AgentResponse.from_updates)


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def turn(client: InProcessClient, number: int) -> dict[str, Any]:
    body = {"input": f"n{number}", "conversation": "conv_1", "stream": number % 2 == 0}
    reply = await client.post("/responses", json=body)
    if reply.status != 200:
        return {"status": reply.status, "output": reply.text}
    return reply.log().events[-1]["response"] if body["stream"] else reply.json()


async def main(path: str, first: str) -> None:
    number = int(first)
    async with serve(AgentHost(Repeats(), stores=sqlite_stores(path)).app) as client:
        while True:
            say(begun=number)
            response = await turn(client, number)
            if response["status"] != "completed":
                say(failed=response)
                return
            heard, answers = json.loads(response["output"][0]["content"][0]["text"])
            say(told=number, heard=heard, answers=answers)
            number += 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
