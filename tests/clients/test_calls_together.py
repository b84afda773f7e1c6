"""Calls that the model made together, the agent's own and the caller's: the next model reads them as they were made."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hosted import Hosted, hosting
from upstream import Text, ToolCall, turn

from hostedagent.options import OwnTools

Way = Literal["previous_response_id", "conversation", "stateless", "stored"]

CLOCK: dict[str, object] = {
    "type": "function",
    "name": "clock",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
CALLS = {
    "paris": ToolCall("weather", {"city": "Paris"}),
    "rome": ToolCall("weather", {"city": "Rome"}),
    "clock": ToolCall("clock", {}),
}
LINES = {
    "paris": ('call weather {"city": "Paris"}', "result sunny in Paris"),
    "rome": ('call weather {"city": "Rome"}', "result sunny in Rome"),
    "clock": ("call clock {}", "result noon"),
}
WAYS = [
    (form, way)
    for form in ("mcp_call", "function_call", "hidden")
    for way in ("previous_response_id", "conversation", "stateless", "stored")
    if form != "hidden" or way in ("previous_response_id", "conversation")
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


class Conversation:
    """Turns of one conversation, kept in one of the ways.

    `stored`: the client sends everything back, as in `stateless`, until its last turn, which names the response.
    """

    def __init__(self, host: Hosted, way: Way) -> None:
        self._host = host
        self._way = way
        self._sent: list[Any] = []

    async def say(self, *items: Any, is_last: bool = False) -> list[Any]:
        """One turn; returns its output."""
        if self._way == "conversation":
            return (await self._host.ask([*items], conversation="conv_1", tools=[CLOCK])).items
        if self._way == "previous_response_id" or (self._way == "stored" and is_last):
            ask = self._host.then if self._host.last else self._host.ask
            return (await ask([*items], tools=[CLOCK])).items
        self._sent += items
        log = await self._host.ask(self._sent, store=self._way == "stored", tools=[CLOCK])
        self._sent += log.items
        return log.items


@pytest.mark.parametrize(("form", "way"), WAYS)
@pytest.mark.parametrize("names", [("paris", "clock"), ("clock", "paris"), ("paris", "clock", "rome")])
async def test_the_next_model_reads_own_calls_beside_the_callers(
    form: OwnTools, way: Way, names: tuple[str, ...]
) -> None:
    made = [*(LINES[name][0] for name in names), *(LINES[name][1] for name in names)]
    async with hosting(own_tools=form) as host:
        host.script(turn(*(CALLS[name] for name in names)), Text("It is noon."), Text("Next."))
        conversation = Conversation(host, way)

        output = await conversation.say(user("Hi"))
        [call] = [item for item in output if item.get("name") == "clock"]
        await conversation.say({"type": "function_call_output", "call_id": call["call_id"], "output": "noon"})
        assert host.asked == ["user: Hi", *made]

        await conversation.say(user("And?"), is_last=True)
        assert host.asked == ["user: Hi", *made, "assistant: It is noon.", "user: And?"]


@pytest.mark.parametrize(("form", "way"), WAYS)
async def test_the_next_model_reads_rounds_of_calls_as_they_were_made(form: OwnTools, way: Way) -> None:
    together = [LINES["paris"][0], LINES["rome"][0], LINES["paris"][1], LINES["rome"][1]]
    async with hosting(own_tools=form) as host:
        host.script(turn(CALLS["paris"], CALLS["rome"]), turn(CALLS["paris"]), Text("Both."), Text("Next."), Text("."))
        conversation = Conversation(host, way)
        await conversation.say(user("Hi"))
        await conversation.say(user("And?"))
        await conversation.say(user("Well?"), is_last=True)
    after = ["assistant: Both.", "user: And?", "assistant: Next.", "user: Well?"]
    assert host.asked == ["user: Hi", *together, *LINES["paris"], *after]
