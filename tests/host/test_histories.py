"""Who keeps the conversation: the host, the model's service or the agent's own provider, and never two of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import Agent, ContextProvider, HistoryProvider, Message
from agent_framework.openai import OpenAIChatClient

from hostedagent import AgentHost, ConfigurationError, HostOptions, Scope, memory_stores
from hostedagent.options import HistoryOwner
from hostedagent.stores.sessions import TURN
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, serve
from tests.host.world import hosting, stream
from tests.stores.records import WatchedStore, delete, get

LOCAL = Scope("local")
SESSION = HostOptions(history="session")


class Diary(HistoryProvider):
    """A provider that keeps messages by session id, and remembers how often it was asked to."""

    def __init__(self, *, load_messages: bool = True) -> None:
        super().__init__("diary", load_messages=load_messages)
        self.kept: dict[str | None, list[Message]] = {}
        self.saved: list[list[str]] = []

    async def get_messages(self, session_id: str | None, **kwargs: Any) -> list[Message]:
        return list(self.kept.get(session_id, ()))

    async def save_messages(self, session_id: str | None, messages: Sequence[Message], **kwargs: Any) -> None:
        self.saved.append([f"{message.role}: {message.text}" for message in messages])
        self.kept.setdefault(session_id, []).extend(messages)


class Counter(ContextProvider):
    """Counts the turns in its state and tells the model; leaves what it is given beside the count."""

    def __init__(self, *left: Any) -> None:
        super().__init__("counter")
        self._left = list(left)

    async def before_run(self, *, context: Any, state: dict[str, Any], **kwargs: Any) -> None:
        state["turns"] = state.get("turns", 0) + 1
        context.extend_messages(self, [Message("user", [f"[turn {state['turns']}]"])])

    async def after_run(self, *, state: dict[str, Any], **kwargs: Any) -> None:
        if self._left:
            state["left"] = self._left.pop(0)


def openai_agent(**more: Any) -> Agent[Any]:
    return Agent(client=OpenAIChatClient(model="m", api_key="k", base_url="http://127.0.0.1:9/v1"), **more)


def offline_agent(**more: Any) -> Agent[Any]:
    return Agent(OfflineChatClient(script=["A"]), **more)


async def say(http: InProcessClient, text: str, user: str = "", **fields: Any) -> str:
    headers = {"x-agent-user-id": user} if user else None
    reply = await http.post("/responses", json={"input": text, **fields}, headers=headers)
    assert reply.status == 200, reply.text
    assert reply.json()["status"] == "completed", reply.text
    return reply.json()["id"]


def counted(model: OfflineChatClient) -> list[str]:
    """What the counter told the model, turn by turn."""
    return [row.partition(": ")[2] for call in model.calls for row in call.transcript if row.startswith("user: [turn")]


CONFLICTS: dict[str, tuple[HistoryOwner, Any, str]] = {
    "the host and a provider": ("replay", lambda: offline_agent(context_providers=[Diary()]), "Diary"),
    "the service and a provider": ("service", lambda: openai_agent(context_providers=[Diary()]), "Diary"),
    "a service that keeps nothing": ("service", offline_agent, "keeps conversations"),
    "the agent without a provider, and a service": ("session", openai_agent, "history provider"),
}


@pytest.mark.parametrize(("history", "make", "words"), CONFLICTS.values(), ids=CONFLICTS)
def test_owners_that_do_not_fit_are_refused_when_the_host_is_built(
    history: HistoryOwner, make: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        AgentHost(make(), options=HostOptions(history=history))

    assert "history" in str(refused.value)


@pytest.mark.parametrize(("history", "make", "words"), CONFLICTS.values(), ids=CONFLICTS)
async def test_an_agent_of_a_factory_is_refused_in_its_turn(
    history: HistoryOwner, make: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(lambda: make(), options=HostOptions(history=history)) as http:
        log = await stream(http)

    assert (log.status, log.response["error"]["code"]) == ("failed", "server_error")
    assert "ConfigurationError" in caplog.text


@pytest.mark.parametrize(
    ("history", "make"),
    [
        ("replay", openai_agent),
        ("replay", lambda: offline_agent(context_providers=[Diary(load_messages=False), Counter()])),
        ("service", openai_agent),
        ("service", lambda: openai_agent(context_providers=[Diary(load_messages=False)])),
        ("session", lambda: offline_agent(context_providers=[Diary()])),
        ("session", lambda: openai_agent(context_providers=[Diary()])),
        ("session", offline_agent),
    ],
)
def test_one_owner_is_enough(history: HistoryOwner, make: Any) -> None:
    AgentHost(make(), options=HostOptions(history=history))


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_the_agents_own_provider_saves_each_turn_once_under_one_session(by: str) -> None:
    diary, model = Diary(), OfflineChatClient(script=["A", "B", "C"])

    async with hosting(Agent(model, context_providers=[diary]), options=SESSION) as http:
        previous = ""
        for text in "abc":
            chain = {"previous_response_id": previous} if previous else {}
            previous = await say(http, text, **(chain if by == "previous_response_id" else {"conversation": "conv_1"}))

    assert diary.saved == [[f"user: {text}", f"assistant: {text.upper()}"] for text in "abc"]
    assert len(diary.kept) == 1
    assert model.calls[2].transcript == ["user: a", "assistant: A", "user: b", "assistant: B", "user: c"]


async def test_sessions_are_apart_by_user_conversation_and_chain() -> None:
    diary, model = Diary(), OfflineChatClient(script=["x"] * 6)

    async with hosting(Agent(model, context_providers=[diary]), options=SESSION) as http:
        for user in ("user-1", "user-2"):
            await say(http, f"{user} 1", user, conversation="conv_1")
            await say(http, f"{user} 2", user, conversation="conv_2")
            await say(http, f"{user} 3", user)

    assert len(diary.kept) == 6
    assert [len(call.messages) for call in model.calls] == [1] * 6
    assert not any(name in str(session_id) for session_id in diary.kept for name in ("user-", "conv"))


@pytest.mark.parametrize("history", ["replay", "session"])
async def test_the_state_of_a_context_provider_lives_from_turn_to_turn_in_each_branch(history: HistoryOwner) -> None:
    model = OfflineChatClient(script=["x"] * 5)

    async with hosting(Agent(model, context_providers=[Counter()]), options=HostOptions(history=history)) as http:
        first = await say(http, "a")
        second = await say(http, "b", previous_response_id=first)
        await say(http, "c", previous_response_id=second)
        await say(http, "d", previous_response_id=first)
        await say(http, "e")

    last = [call.transcript[:] for call in model.calls]
    turns = [max(int(row.split("[turn ")[1][0]) for row in rows if "[turn " in row) for rows in last]
    assert turns == [1, 2, 3, 2, 1]


async def test_the_state_of_a_context_provider_lives_on_in_a_conversation() -> None:
    model = OfflineChatClient(script=["x"] * 3)

    async with hosting(Agent(model, context_providers=[Counter()])) as http:
        for text in "abc":
            await say(http, text, conversation="conv_1")

    assert counted(model) == ["[turn 1]", "[turn 2]", "[turn 3]"]


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_a_replayed_conversation_goes_on_without_its_session_record(by: str) -> None:
    model, stores = OfflineChatClient(script=["A", "B"]), memory_stores()
    watched = WatchedStore(stores.state)
    stores = replace(stores, state=watched)

    async with serve(AgentHost(Agent(model, context_providers=[Counter()]), stores=stores).app) as http:
        more = {"conversation": "conv_1"} if by == "conversation" else {}
        first = await say(http, "a", **more)
        assert watched.keys(LOCAL, TURN) == [first]
        await delete(stores.state, LOCAL, TURN, first)
        await say(http, "b", **(more or {"previous_response_id": first}))

    assert [row for row in model.calls[1].transcript if "[turn" not in row] == ["user: a", "assistant: A", "user: b"]
    assert counted(model) == ["[turn 1]", "[turn 1]"]


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_a_turn_that_does_not_count_leaves_no_state_behind(ending: str) -> None:
    gate = Gate()
    bad = RuntimeError("no") if ending == "failed" else ["Half", gate]
    model = OfflineChatClient(script=["A", bad, "C"])

    async with hosting(Agent(model, context_providers=[Counter()])) as http:
        first = await say(http, "a")
        body = {"input": "b", "previous_response_id": first, "background": True}
        second = (await http.post("/responses", json=body)).json()["id"]
        if ending == "cancelled":
            await gate.reached()
            await http.post(f"/responses/{second}/cancel")
        while (await http.get(f"/responses/{second}")).json()["status"] != ending:
            pass
        await say(http, "c", previous_response_id=second)

    assert counted(model) == ["[turn 1]", "[turn 2]", "[turn 2]"]
    assert "user: b" not in model.calls[2].transcript


@pytest.mark.filterwarnings("ignore:AgentSession state value:RuntimeWarning")
@pytest.mark.parametrize("left", [object(), {1, 2}, float("nan")], ids=["an object", "a set", "not a number"])
@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_state_that_is_not_json_fails_its_turn_and_nothing_of_it_is_saved(
    by: str, left: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model, stores = OfflineChatClient(script=["A", "B", "C"]), memory_stores()
    agent = Agent(model, context_providers=[Counter("fine", left, "fine")])

    async with serve(AgentHost(agent, stores=stores).app) as http:
        more = {"conversation": "conv_1"} if by == "conversation" else {}
        first = await say(http, "a", **more)
        caplog.clear()
        log = await stream(http, input="b", **(more or {"previous_response_id": first}))
        failed = await get(stores.state, LOCAL, TURN, log.response["id"])
        await say(http, "c", **(more or {"previous_response_id": first}))

    assert (log.status, log.response["error"]["code"]) == ("failed", "server_error")
    assert [row.levelno for row in caplog.records if "Saving the turn" in row.message] == [logging.ERROR]
    assert failed is None or failed.value["session"]["state"]["counter"] == {"turns": 1, "left": "fine"}
    assert counted(model) == ["[turn 1]", "[turn 2]", "[turn 2]"]
    assert "user: b" not in model.calls[2].transcript
