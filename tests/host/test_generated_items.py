"""Items that the `openai` library and Open Responses declare are accepted in every form, or refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hostedagent import HostOptions
from hostedagent.host import Driver
from hostedagent.protocol.content import NOT_ITEMS
from hostedagent.testing import ScriptedAgent
from tests.host.generated_items import Forms, declared_items, declared_types, specified_items
from tests.host.specification import Specification
from tests.host.world import hosting

USER = {"role": "user", "content": "hi"}
SERVED = HostOptions(own_tools="function_call")

CALLS: Mapping[str, dict[str, Any]] = {
    "function_call_output": {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    "custom_tool_call_output": {"type": "custom_tool_call", "call_id": "call_1", "name": "f", "input": "x"},
    "local_shell_call_output": {"type": "local_shell_call", "call_id": "id",
                                "action": {"type": "exec", "command": ["ls"]}},
    "apply_patch_call_output": {"type": "apply_patch_call", "call_id": "call_1",
                                "operation": {"type": "delete_file", "path": "a"}},
}  # fmt: skip
"""What an output must follow."""

REFUSED: Mapping[str, str] = {
    "needs image_url or file_id": "an image is one of them",
    "needs file_data, file_url or file_id": "a file is one of them",
    "needs call_id": "an output says which call it answers",
    "local_shell_call_output needs id": "its id is the id of its call",
    "actions must be an array": "a computer is told to do something",
    "open approval request": "an approval answers a question",
    "there is no item with the id": "a reference names a stored item",
    "must be the id of a stored item": "a reference names a stored item",
    **{f"'{kind}' is not accepted": why for kind, why in NOT_ITEMS.items() if kind != "item_reference"},
}
"""Part of a message to the reason why what it refuses can mean nothing."""


async def unexpected(items: Forms, seen: set[str]) -> list[str]:
    """The refusals that have no reason, on the current driver; those that have one are added to `seen`."""
    found: list[str] = []
    async with hosting(ScriptedAgent(*[["ok"]] * 2_000), options=SERVED) as client:
        for form, item in items:
            call = CALLS.get(str(item.get("type")))
            # Clients strip ids where nothing is stored.
            body = {"input": [USER, *([call] if call else []), item, USER], "store": form != "no id"}
            reply = await client.post("/responses", json=body)
            if (reply.status, reply.json().get("status")) == (200, "completed"):
                continue
            why = next((part for part in REFUSED if part in reply.text), None)
            if why is None or not 400 <= reply.status < 500:
                found.append(f"{form}: {reply.status} {reply.text} {item}"[:600])
            else:
                seen.add(why)
        found += [f"{error!r}" for error in client.errors]
    return found


@pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True)
async def test_an_item_that_the_openai_library_declares_is_accepted(driver: Driver) -> None:
    seen: set[str] = set()
    found = {name: await unexpected(declared_items(kind), seen) for name, kind in declared_types().items()}

    assert {name: rows for name, rows in found.items() if rows} == {}
    assert set(REFUSED) - seen == set(), "no form is refused for this any more"


@pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True)
async def test_an_item_of_open_responses_is_accepted(driver: Driver, specification: Specification) -> None:
    schemas = specification.schemas
    members = [row["$ref"].rpartition("/")[2] for row in schemas["ItemParam"]["oneOf"]]
    found = {name: await unexpected(specified_items(schemas, schemas[name]), set()) for name in members}

    assert len(members) >= 8
    assert {name: rows for name, rows in found.items() if rows} == {}
