"""Compaction items: what is sealed comes back whole, and an item of another service is named."""

import pytest
from agent_framework import Content, Message

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.compaction import read
from hostedagent.protocol.transcript.compaction import dump, load, split_open
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.transcript.reading import ItemReader

CALL = Content.from_function_call("c1", "f", arguments='{"a": 1}')
RESULT = Content.from_function_result("c1", result="3")
IMAGE = Content.from_uri("data:image/png;base64,AAAA", media_type="image/png")


def shown(messages: list[Message]) -> list[tuple[str, list[str]]]:
    return [(message.role, [content.type for content in message.contents]) for message in messages]


def test_messages_come_back_whole_and_system_messages_stay_outside() -> None:
    said = [
        Message("system", ["Be kind."]),
        Message("user", ["Look.", IMAGE]),
        Message("assistant", [CALL], author_name="writer"),
        Message("tool", [RESULT]),
    ]
    back = load(dump(said))

    assert shown(back) == [("user", ["text", "data"]), ("assistant", ["function_call"]), ("tool", ["function_result"])]
    assert back[1].author_name == "writer" and back[1].contents[0].arguments == '{"a": 1}'
    assert back[2].contents[0].result == "3"


def test_an_item_takes_the_place_of_everything_before_it() -> None:
    reader = ItemReader()
    reader.open("sealed", [Message("user", ["left"]), Message("assistant", [CALL]), Message("tool", [RESULT])])
    system, said = ({"type": "message", "role": role, "content": role} for role in ("system", "user"))
    item = {"type": "compaction", "encrypted_content": "sealed"}
    for history, new in (([system, said, item], [said]), ([system, said], [said, item, said])):
        messages = to_messages(history, new, trusts_roles=True, reader=reader)
        assert [message.role for message in messages] == ["system", "user", "assistant", "tool", "user"]
        assert messages[1].text == "left"


def test_an_item_that_was_not_opened_is_a_line() -> None:
    assert [content.text for content in read({"type": "compaction", "encrypted_content": "x"})] == ["[compaction]"]
    with pytest.raises(InvalidRequest):
        read({"type": "compaction", "encrypted_content": 1})


def test_a_conversation_is_divided_before_the_turn_that_waits() -> None:
    user, answer = {"type": "message", "role": "user"}, {"type": "message", "role": "assistant"}
    call = {"type": "function_call", "call_id": "c1"}
    asked, question = ({"type": "mcp_approval_request", "id": item_id} for item_id in ("q1", "q2"))
    settled = [user, call, {"type": "function_call_output", "call_id": "c1"}, asked]
    settled.append({"type": "mcp_approval_response", "approval_request_id": "q1"})

    assert split_open(settled) == (settled, ())
    assert split_open([*settled, user, answer, question]) == (settled, [user, answer, question])
    assert split_open([*settled, user, call]) == (settled, [user, call]), "the id of an answered call is used again"
    assert split_open([call]) == ([], [call])
