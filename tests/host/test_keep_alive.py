"""Keep-alive comments come when they are asked for, whatever the installed SDK does by itself."""

from __future__ import annotations

from typing import Any

import pytest
from azure.ai.agentserver.responses import ResponsesServerOptions

from hostedagent import AgentHost, HostOptions
from hostedagent.testing import ScriptedAgent


def seconds_between_comments(options: HostOptions | None, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """What the SDK was told, as it stands once the host is made: it changes the options that it is given."""
    given: list[ResponsesServerOptions] = []

    def remember(**settings: Any) -> ResponsesServerOptions:
        given.append(ResponsesServerOptions(**settings))
        return given[-1]

    monkeypatch.setattr("hostedagent.server.agentserver.app.ResponsesServerOptions", remember)
    AgentHost(ScriptedAgent(), options=options)
    return given[0].sse_keep_alive_interval_seconds


def test_there_are_no_comments_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSE_KEEPALIVE_INTERVAL", raising=False)

    assert seconds_between_comments(None, monkeypatch) is None


def test_the_platform_may_ask_for_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSE_KEEPALIVE_INTERVAL", "7")

    assert seconds_between_comments(None, monkeypatch) == 7


def test_the_application_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSE_KEEPALIVE_INTERVAL", "7")

    assert seconds_between_comments(HostOptions(keep_alive=20), monkeypatch) == 20
