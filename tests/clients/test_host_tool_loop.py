"""A call of a tool and the answer to it: the same events and the same usage, whichever service the model is of."""

from __future__ import annotations

import pytest
from hosted import CLIENTS, hosting, joined
from upstream import Text, ToolCall, Usage, turn

TOOL_LOOP = [
    "0 created in_progress",
    "1 in_progress",
    "2 item+ 0 mcp_call agent weather",
    "3 mcp_call.in_progress 0",
    '4 args 0 "{\\"city\\": \\"Paris\\"}"',
    '5 args= 0 "{\\"city\\": \\"Paris\\"}"',
    "6 mcp_call.completed 0",
    '7 item- 0 mcp_call agent weather "sunny in Paris" completed',
    "8 item+ 1 message",
    "9 part+ 1.0 output_text",
    '10 text 1.0 "It is sunny."',
    '11 text= 1.0 "It is sunny."',
    "12 part- 1.0 output_text",
    "13 item- 1 message completed",
    "14 completed usage=30/12",
]


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_tool_loop_streams_arguments_once_and_sums_the_usage(name: str) -> None:
    # Anthropic does not count the tokens of its thinking apart.
    thought = (0, 0) if name == "anthropic" else (1, 2)
    async with hosting(CLIENTS[name]) as host:
        paris = ToolCall("weather", {"city": "Paris"})
        host.script(
            turn(paris, usage=Usage(10, 5, 3, thought[0])),
            turn(Text("It is sunny."), usage=Usage(20, 7, 4, thought[1])),
        )
        log = await host.ask("Weather?")
    assert joined(log) == TOOL_LOOP
    assert log.usage == {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 0},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": sum(thought)},
        "total_tokens": 42,
    }
