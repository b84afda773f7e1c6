"""Messages that a model client refuses as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from agent_framework import Message

from hostedagent.agents.sendable import led_by_user

TOLD, ASKED, SAID = Message("system", ["Be kind."]), Message("user", ["Hi."]), Message("assistant", ["Hello."])


class RawAnthropicClient:
    """A client whose service refuses an assistant that speaks first."""


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
