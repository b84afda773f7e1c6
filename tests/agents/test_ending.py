"""How a run ended, by what its updates said."""

from types import SimpleNamespace
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content

from hostedagent.agents.result import Ending
from hostedagent.outcomes import Completed, Failed, Incomplete, Outcome


def update(text: str | None = None, *, finish: Any = None, raw: Any = None) -> AgentResponseUpdate:
    contents = [Content.from_text(text)] if text else []
    return AgentResponseUpdate(contents=contents, finish_reason=finish, raw_representation=raw)


def chat(model: str | None = None, event: Any = None) -> Any:
    """What an agent's update holds: the chat client's update, which holds the service's event."""
    return SimpleNamespace(model=model, raw_representation=event)


def ended(*updates: AgentResponseUpdate) -> Ending:
    ending = Ending()
    for one in updates:
        ending.see(one)
    return ending


@pytest.mark.parametrize(
    ("reasons", "outcome"),
    [
        ((), Completed()),
        (("stop",), Completed()),
        (("tool_calls", "stop"), Completed()),
        (("length",), Incomplete("max_output_tokens")),
        (("length", "stop"), Completed()),
        (("stop", "length"), Incomplete("max_output_tokens")),
        (("content_filter",), Incomplete("content_filter")),
    ],
)
def test_the_last_finish_reason_decides(reasons: tuple[str, ...], outcome: Outcome) -> None:
    assert ended(update("a"), *(update("b", finish=reason) for reason in reasons)).outcome() == outcome


def test_the_model_that_answered_last_is_named() -> None:
    ending = ended(update("a", raw=chat("m-1")), update("b"), update(finish="stop", raw=chat("m-2")))

    assert ending.model == "m-2"
    assert ended(update("a")).model is None


@pytest.mark.parametrize("first", [[], [update("a", raw=chat("m-1"))]])
def test_a_failure_inside_the_stream_is_seen(first: list[AgentResponseUpdate]) -> None:
    error = SimpleNamespace(code="rate_limit_exceeded", message="secret")
    event = SimpleNamespace(type="response.failed", response=SimpleNamespace(error=error))

    outcome = ended(*first, update(raw=chat("m-1", event))).outcome()

    assert isinstance(outcome, Failed)
    assert outcome.code == "rate_limit_exceeded"
    assert "secret" not in outcome.message
