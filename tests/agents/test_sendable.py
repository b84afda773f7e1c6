"""Messages that a model client refuses as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from agent_framework import Content, Message

from hostedagent.agents.sendable import can_send, led_by_user

TOLD, ASKED, SAID = Message("system", ["Be kind."]), Message("user", ["Hi."]), Message("assistant", ["Hello."])


class RawAnthropicClient:
    """A client whose service refuses an assistant that speaks first."""


class RawOpenAIChatClient:
    """A client whose service takes files in messages, but only text as the result of a tool."""

    SUPPORTS_RICH_FUNCTION_OUTPUT = False


class Lenient:
    """A client whose service does not."""


@pytest.mark.parametrize(
    ("client", "messages", "roles"),
    [
        (RawAnthropicClient(), [TOLD, SAID, ASKED], ["system", "user", "assistant", "user"]),
        (RawAnthropicClient(), [TOLD, ASKED, SAID], ["system", "user", "assistant"]),
        (RawAnthropicClient(), [TOLD], ["system"]),
        (Lenient(), [SAID], ["assistant"]),
    ],
)
def test_a_user_speaks_first_where_the_service_demands_it(
    client: object, messages: Sequence[Message], roles: Sequence[str]
) -> None:
    assert [message.role for message in led_by_user(client, messages)] == roles


def test_a_file_is_sent_in_a_message_and_not_as_a_result_where_the_service_takes_no_such_results() -> None:
    can = can_send(RawOpenAIChatClient())
    assert can is not None

    image = Content.from_uri("https://example.com/a.png", media_type="image/png")
    assert (can(image, False), can(image, True)) == (True, False)
