"""The response builder: lifecycle events, the places of items, and a response that an earlier process began."""

from __future__ import annotations

import json
from typing import Any

from hostedagent.outcomes import Failed
from hostedagent.protocol.stream.response import ResponseBuilder

RESPONSE_ID = "caresp_" + "0123456789abcdef00" + "r" * 32


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def test_a_lifecycle_event_shows_the_response_as_it_was_then() -> None:
    builder = ResponseBuilder(RESPONSE_ID, {"metadata": {"a": "b"}})
    created = builder.created()
    builder.response["model"] = "later"
    builder.open_item("msg_1", None).done(message("hi"))
    assert created["response"]["output"] == [] and "model" not in created["response"]
    assert created["response"]["metadata"] == {"a": "b"}
    done = builder.completed({"total_tokens": 3})
    assert done["type"] == "response.completed" and done["response"]["status"] == "completed"
    assert done["response"]["usage"] == {"total_tokens": 3}
    assert [item["id"] for item in done["response"]["output"]] == ["msg_1"]


def test_items_keep_their_places_whichever_is_done_first() -> None:
    builder = ResponseBuilder(RESPONSE_ID)
    first, second = builder.open_item("msg_1", None), builder.open_item("msg_2", "writer")
    second.done(message("two"))
    assert [item and item["id"] for item in builder.response["output"]] == [None, "msg_2"]
    first.done(message("one"))
    assert [item["id"] for item in builder.response["output"]] == ["msg_1", "msg_2"]


def test_an_item_says_whose_it_is_and_what_only_the_store_sees() -> None:
    builder = ResponseBuilder(RESPONSE_ID, {"agent_reference": {"type": "agent_reference", "name": "host"}})
    item = builder.open_item("fc_1", "writer")
    item.remember(call_id="c1")
    assert item.done({"type": "function_call"})["item"] == {
        "type": "function_call",
        "id": "fc_1",
        "response_id": RESPONSE_ID,
        "agent_reference": {"type": "agent_reference", "name": "writer"},
        "internal_metadata": {"hostedagent": {"call_id": "c1"}},
    }
    unnamed = builder.open_item("fc_2", None).added({"type": "function_call"})
    assert unnamed["item"]["agent_reference"]["name"] == "host" and unnamed["output_index"] == 1


def test_a_resumed_response_continues_behind_what_it_had() -> None:
    before = ResponseBuilder(RESPONSE_ID, {"created_at": 7, "model": "m"})
    before.open_item("msg_1", None).done(message("one"))
    stored = json.loads(json.dumps(before.in_progress()["response"]))
    builder = ResponseBuilder.resumed(stored)
    builder.open_item("msg_2", None).done(message("two"))
    end = builder.completed(None)["response"]
    assert (end["id"], end["created_at"], end["model"]) == (RESPONSE_ID, 7, "m")
    assert [item["id"] for item in end["output"]] == ["msg_1", "msg_2"]
    assert [item["id"] for item in stored["output"]] == ["msg_1"]


def test_a_terminal_event_gives_the_reason() -> None:
    cut = ResponseBuilder(RESPONSE_ID).incomplete("max_output_tokens", None)["response"]
    assert (cut["status"], cut["error"], cut["completed_at"]) == ("incomplete", None, None)
    assert cut["incomplete_details"] == {"reason": "max_output_tokens"}
    failed = ResponseBuilder(RESPONSE_ID).failed(Failed("server_error", "no"), None)["response"]
    assert (failed["status"], failed["incomplete_details"], failed["completed_at"]) == ("failed", None, None)
    assert failed["error"] == {"code": "server_error", "message": "no", "type": "server_error", "param": None}
