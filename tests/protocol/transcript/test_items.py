"""The messages of a run as the items that are stored."""

from agent_framework import Message

from hostedagent.protocol.transcript.items import write_input


def test_what_the_agent_said_before_is_one_item_of_the_input() -> None:
    items = write_input([Message("user", ["Hi."]), Message("assistant", ["Hello."])], "resp_1")

    assert [(item["role"], item["content"][0]["text"]) for item in items] == [("user", "Hi."), ("assistant", "Hello.")]
