"""The same request is sent to the model's service as the same bytes, and stays as it is in the turns that follow.

A service finds the beginning of a prompt in its cache only where nothing in it has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hosted import CLIENTS, Hosted, hosting
from tests.host.generated_items import declared_items, declared_types
from tests.host.test_generated_items import CALLS
from upstream import Text
from upstream.rules.openai_responses import ID_PREFIXES

from hostedagent import HostOptions

Item = dict[str, Any]
USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
OWN_CALL = {"type": "mcp_call", "server_label": "agent", "name": "f", "arguments": "{}", "output": "1"}
UNKNOWN = {"ItemReference", "McpApprovalResponse", "CompactionTrigger", "ResponseConfigurationUpdateItemParamParam"}
"""Types of items that are nothing alone, or that no turn takes."""


def cases() -> Iterator[tuple[str, list[Item]]]:
    """One item of each type, with and without its id, and items that are sent twice."""
    for name, kind in declared_types().items():
        if name in UNKNOWN:
            continue
        _, whole = next(declared_items(kind))
        call = CALLS.get(whole["type"])
        before = [dict(call)] if call else []
        if "id" in whole and whole["type"] in ID_PREFIXES:
            whole["id"] = f"{ID_PREFIXES[whole['type']]}1"
        yield name, [*before, whole]
        if "id" in whole and whole["type"] != "local_shell_call_output":  # Its id is that of its call.
            yield f"{name} without an id", [*before, {key: row for key, row in whole.items() if key != "id"}]
    yield "an own call", [OWN_CALL]
    yield "an own call twice", [OWN_CALL, OWN_CALL]
    yield "a call of an MCP server twice", [{**OWN_CALL, "server_label": "s"}] * 2


def conversation(request: Mapping[str, Any]) -> list[Any]:
    return [request.get("system"), *(request["input"] if "input" in request else request["messages"])]


async def asked(host: Hosted, given: Sequence[Item], **fields: Any) -> tuple[Any, str]:
    """The response to a request, and what the service was sent for it."""
    host.script(Text("ok"))
    reply = await host.client.post("/responses", json={"input": given, **fields})
    assert reply.json().get("status") == "completed", reply.text
    return reply.json(), json.dumps(conversation(host.upstream.requests[-1]))[:-1]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_prompt_is_the_same_each_time_and_begins_the_next_one(client: str) -> None:
    changed: list[str] = []
    async with hosting(CLIENTS[client], host_options=HostOptions(own_tools="function_call")) as host:
        for name, items in cases():
            given = [USER, *items, ANSWER, USER]
            response, prompt = await asked(host, given, store=False)
            _, again = await asked(host, given, store=False)
            stored, kept = await asked(host, given)
            _, following = await asked(host, [USER], previous_response_id=stored["id"])
            _, sent_back = await asked(host, [*given, *response["output"], USER], store=False)
            others = {"again": again, "stored": kept, "next": following, "sent back": sent_back}
            changed += [f"{name}, {how}" for how, other in others.items() if not other.startswith(prompt)]

    assert changed == []
