"""The output of a response that is still being made, as somebody who asks for it meanwhile sees it."""

from __future__ import annotations

from typing import Any

from hostedagent.engine.partial_output import PartialOutput

DONE: dict[str, Any] = {"id": "msg_1", "type": "message", "status": "completed", "content": []}
OPEN: dict[str, Any] = {"id": "msg_2", "type": "message", "status": "in_progress", "content": []}


def said(delta: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 1, "delta": delta}


def item(edge: str, wire: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{edge}", "output_index": 1, "item": wire}


def test_an_open_item_is_seen_with_its_text_so_far() -> None:
    response: dict[str, Any] = {"output": [DONE, None]}
    partial = PartialOutput(response)
    seen = list[Any]()
    for event in (item("added", OPEN), said("Hel"), said("lo.")):
        partial.see(event)
        seen.append(partial.output())
    response["output"][1] = {**OPEN, "status": "completed"}
    partial.see(item("done", response["output"][1]))

    assert seen[0] == [DONE, OPEN]
    assert [row["content"][0]["text"] for _, row in seen[1:]] == ["Hel", "Hello."]
    assert partial.output() == [DONE, {**OPEN, "status": "completed"}]


def test_an_item_whose_first_event_is_held_back_is_not_seen() -> None:
    assert PartialOutput({"output": [DONE, None]}).output() == [DONE]


def test_what_only_the_host_sees_of_an_item_is_left_out() -> None:
    kept = {**DONE, "internal_metadata": {"call_id": "c1"}}

    assert PartialOutput({"output": [kept]}).output() == [DONE]
