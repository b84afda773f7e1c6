"""The Conversations API, as the `openai` library uses it: what a caller adds and erases, and what the agent reads."""

from typing import Any, cast

import openai
import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost, HeaderScopeResolver, HostOptions
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.host.approving import answer, call
from tests.host.world import own_routes

on_host = pytest.mark.not_on_foundry("Foundry serves the conversations that it keeps itself")


def said(text: str) -> Any:
    return {"type": "message", "role": "user", "content": text}


SAID = said("I am Ada.")
ANSWERED: Any = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Ada."}]}


def read_by(agent: ScriptedAgent, turn: int = 0) -> list[str]:
    return [message.text for message in agent.calls[turn].messages]


async def said_in(client: InProcessClient, conversation_id: str) -> list[str]:
    listed = (await client.get(f"/conversations/{conversation_id}/items?order=asc")).json()
    return [item["content"][0]["text"] for item in listed["data"]]


async def test_a_conversation_is_created_changed_and_deleted(stores: Any) -> None:
    async with own_routes(ScriptedAgent(), stores=stores) as client, client.openai() as api:
        created = await api.conversations.create(metadata={"topic": "a"})
        changed = await api.conversations.update(created.id, metadata={"topic": "b"})
        found = await api.conversations.retrieve(created.id)
        deleted = await api.conversations.delete(created.id)
        with pytest.raises(openai.NotFoundError):
            await api.conversations.retrieve(created.id)

    assert (created.object, created.metadata) == ("conversation", {"topic": "a"})
    assert found == changed and changed.metadata == {"topic": "b"} and changed.created_at == created.created_at > 0
    assert (deleted.id, deleted.deleted, deleted.object) == (created.id, True, "conversation.deleted")


async def test_items_that_a_caller_adds_are_read_by_the_next_turn(stores: Any) -> None:
    agent = ScriptedAgent(["Your name is Ada."], ["Twice."])
    async with own_routes(agent, stores=stores) as client, client.openai() as api:
        conversation = await api.conversations.create(items=[SAID])
        added = await api.conversations.items.create(conversation.id, items=[ANSWERED])
        await api.responses.create(input="Who am I?", conversation=conversation.id)
        await api.conversations.items.create(conversation.id, items=[said("I said that.")])
        await api.responses.create(input="Did I?", conversation=conversation.id)

    assert [item.type for item in added.data] == ["message"] and added.first_id == added.last_id
    assert read_by(agent) == ["I am Ada.", "Hello Ada.", "Who am I?"]
    assert read_by(agent, 1) == [*read_by(agent), "Your name is Ada.", "I said that.", "Did I?"]


async def test_items_are_listed_in_pages_in_both_orders(stores: Any) -> None:
    texts = [f"n{n}" for n in range(25)]
    items = [said(text) for text in texts]
    async with own_routes(ScriptedAgent(), stores=stores) as client, client.openai() as api:
        conversation = await api.conversations.create(items=items)
        forwards = [i async for i in api.conversations.items.list(conversation.id, order="asc", limit=7)]
        backwards = [i async for i in api.conversations.items.list(conversation.id)]
        page = await api.conversations.items.list(conversation.id, limit=7, after=backwards[20].id or "")
        one = await api.conversations.items.retrieve(forwards[3].id or "", conversation_id=conversation.id)

    rows: list[Any] = [forwards, backwards, page.data]
    assert [[i.content[0].text for i in row] for row in rows] == [texts, texts[::-1], texts[:4][::-1]]
    assert one == forwards[3] and one.type == "message" and one.status == "completed"


async def test_an_erased_item_is_gone_from_the_list_and_the_prompt(stores: Any) -> None:
    agent = ScriptedAgent(["secret"], ["Nothing."])
    async with own_routes(agent, stores=stores) as client, client.openai() as api:
        conversation = await api.conversations.create()
        response = await api.responses.create(input="Tell me.", conversation=conversation.id)
        item = response.output[0].id or ""
        left = await api.conversations.items.delete(item, conversation_id=conversation.id)
        listed = [i.id async for i in api.conversations.items.list(conversation.id)]
        again = await api.responses.retrieve(response.id)
        await api.responses.create(input="What was it?", conversation=conversation.id)
        for gone in (item, "msg_unknown"):
            with pytest.raises(openai.NotFoundError):
                await api.conversations.items.delete(gone, conversation_id=conversation.id)
            with pytest.raises(openai.NotFoundError):
                await api.conversations.items.retrieve(gone, conversation_id=conversation.id)

    assert left.id == conversation.id and item not in listed and again.output == []
    assert read_by(agent, 1) == ["Tell me.", "What was it?"]


async def test_a_conversation_under_an_id_of_the_callers_is_one_of_them(stores: Any) -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with own_routes(agent, stores=stores) as client, client.openai() as api:
        await api.responses.create(input="a", conversation="my chat")
        found = await api.conversations.retrieve("my chat")
        await api.conversations.items.create("my chat", items=[SAID])
        await api.responses.create(input="b", conversation="my chat")
        listed = (await client.get("/conversations")).json()

    assert found.id == "my chat" and found.metadata == {}
    assert read_by(agent, 1) == ["a", "one", "I am Ada.", "b"]
    assert [row["id"] for row in listed["data"]] == ["my chat"]


async def test_a_deleted_conversation_begins_anew(stores: Any) -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with own_routes(agent, stores=stores) as client, client.openai() as api:
        first = await api.responses.create(input="a", conversation="chat")
        await api.conversations.items.create("chat", items=[SAID])
        await api.conversations.delete("chat")
        with pytest.raises(openai.NotFoundError):
            await api.responses.retrieve(first.id)
        for call in (api.conversations.retrieve("chat"), api.conversations.delete("chat")):
            with pytest.raises(openai.NotFoundError):
                await call
        listed = [(await client.get("/conversations")).json()["data"]]
        await api.responses.create(input="b", conversation="chat")
        listed.append((await client.get("/conversations")).json()["data"])

    assert read_by(agent, 1) == ["b"]
    assert [[row["id"] for row in rows] for rows in listed] == [[], ["chat"]]


async def test_a_conversation_is_forked_at_any_item(stores: Any) -> None:
    agent = ScriptedAgent(["one"], ["two"], ["other"])
    async with own_routes(agent, stores=stores) as client, client.openai() as api:
        first = await api.responses.create(input="a", conversation="chat")
        await api.responses.create(input="b", conversation="chat")
        last = first.output[0].id
        forks: list[Any] = [
            await api.conversations.create(extra_body={"fork_from": {"conversation_id": "chat", "item_id": last}}),
            await api.conversations.create(items=[SAID], extra_body={"fork_from": {"conversation_id": "chat"}}),
        ]
        await api.responses.create(input="c", conversation=forks[0].id)
        texts = [await said_in(client, name) for name in ("chat", forks[0].id, forks[1].id)]
        unknown = await client.post("/conversations", json={"fork_from": {"conversation_id": "x"}})

    assert read_by(agent, 2) == ["a", "one", "c"]
    assert texts == [["a", "one", "b", "two"], ["a", "one", "c", "other"], ["a", "one", "b", "two", "I am Ada."]]
    assert unknown.status == 404


async def test_conversations_are_listed_newest_first(stores: Any) -> None:
    async with own_routes(ScriptedAgent(), stores=stores) as client, client.openai() as api:
        ids = [(await api.conversations.create(metadata={"n": str(n)})).id for n in range(5)]
        await api.conversations.delete(ids[2])
        pages = [
            (await client.get(f"/conversations?limit=3&after={ids[3]}")).json(),
            (await client.get("/v1/conversations?limit=2&order=asc")).json(),
        ]

    assert [row["id"] for row in pages[0]["data"]] == [ids[1], ids[0]] and not pages[0]["has_more"]
    assert [row["metadata"] for row in pages[1]["data"]] == [{"n": "0"}, {"n": "1"}] and pages[1]["has_more"]


async def test_many_conversations_are_listed(stores: Any) -> None:
    async with own_routes(ScriptedAgent(), stores=stores) as client, client.openai() as api:
        ids = [(await api.conversations.create()).id for _ in range(300)]
        await api.conversations.delete(ids[0])
        first = (await client.get("/conversations?limit=2&order=asc")).json()
        last = (await client.get("/conversations?limit=100")).json()

    assert [row["id"] for row in first["data"]] == ids[1:3]
    assert [row["id"] for row in last["data"]] == ids[-1:-101:-1]


@on_host
async def test_a_conversation_in_which_a_turn_runs_is_not_changed() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, "Hello."])
    async with own_routes(agent) as client, client.openai() as api:
        conversation = await api.conversations.create(items=[SAID])
        (item,) = [i async for i in api.conversations.items.list(conversation.id)]
        started = await api.responses.create(input="hi", conversation=conversation.id, background=True)
        await gate.reached()
        for call in (
            api.conversations.items.create(conversation.id, items=[SAID]),
            api.conversations.items.delete(item.id or "", conversation_id=conversation.id),
            api.conversations.delete(conversation.id),
        ):
            with pytest.raises(openai.ConflictError):
                await call
        await api.responses.cancel(started.id)
        await api.conversations.items.create(conversation.id, items=[ANSWERED])
        listed = [i.id async for i in api.conversations.items.list(conversation.id)]

    assert len(listed) == 2 and item.id in listed


async def test_what_the_turn_before_left_is_kept_when_items_are_added() -> None:
    ran: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(to)
        return f"paid {to}"

    agent = Agent(OfflineChatClient(script=[[call("c1", "pay", to="Bob")], ["Done."]]), tools=[pay])
    async with serve(AgentHost(agent, driver="starlette").app) as client, client.openai() as api:
        asked = await api.responses.create(input="Pay Bob.", conversation="chat")
        (question,) = [item for item in asked.output if item.type == "mcp_approval_request"]
        await api.conversations.items.create("chat", items=[SAID])
        done = await api.responses.create(input=[cast("Any", answer(question.id))], conversation="chat")

    assert done.status == "completed" and ran == ["Bob"]


async def test_conversations_of_others_do_not_exist(stores: Any) -> None:
    resolver = HeaderScopeResolver(header="x-user")
    ann, bob = {"x-user": "ann"}, {"x-user": "bob"}
    agent = ScriptedAgent(["one"], ["two"])
    async with own_routes(agent, stores=stores, resolve_scope=resolver) as client:
        created = (await client.post("/conversations", json={"items": [SAID]}, headers=ann)).json()
        one = f"/conversations/{created['id']}"
        item = (await client.get(f"{one}/items", headers=ann)).json()["data"][0]["id"]
        tries: list[tuple[str, str, Any]] = [
            ("GET", one, None),
            ("POST", one, {"metadata": {}}),
            ("DELETE", one, None),
            ("GET", f"{one}/items", None),
            ("POST", f"{one}/items", {"items": [SAID]}),
            ("GET", f"{one}/items/{item}", None),
            ("DELETE", f"{one}/items/{item}", None),
            ("POST", "/conversations", {"fork_from": {"conversation_id": created["id"]}}),
        ]
        statuses = {(await client.request(method, path, json=body, headers=bob)).status for method, path, body in tries}
        listed = (await client.get("/conversations", headers=bob)).json()
        body = {"input": "hi", "conversation": created["id"]}
        await client.post("/responses", json=body, headers=bob)
        await client.post("/responses", json=body, headers=ann)

    assert statuses == {404} and listed["data"] == []
    assert (read_by(agent), read_by(agent, 1)) == (["hi"], ["I am Ada.", "hi"])


@on_host
@pytest.mark.parametrize("conversation_id", ["team/7", "a/items-of-b", "it/ems/x"])
async def test_an_id_with_slashes_is_read_and_deleted_as_any_other(conversation_id: str) -> None:
    async with own_routes(ScriptedAgent(["x"])) as client, client.openai() as api:
        await api.responses.create(input="hi", conversation=conversation_id)
        found = await api.conversations.retrieve(conversation_id)
        items = (await api.conversations.items.list(conversation_id)).data
        item = await api.conversations.items.retrieve(items[0].id or "", conversation_id=conversation_id)
        deleted = await api.conversations.delete(conversation_id)
        wrong = await client.request("DELETE", f"/conversations/{conversation_id}/items")

    assert (found.id, deleted.id, item.id) == (conversation_id, conversation_id, items[0].id)
    assert len(items) == 2 and wrong.status == 405


@on_host
async def test_metadata_that_a_body_does_not_name_is_kept() -> None:
    async with own_routes(ScriptedAgent()) as client, client.openai() as api:
        created = await api.conversations.create(metadata={"topic": "a"})
        refused = [await client.post(f"/conversations/{created.id}", json=body) for body in ({}, {"topic": "b"})]
        empty = await client.post(f"/conversations/{created.id}")
        kept = await api.conversations.retrieve(created.id)
        cleared = await api.conversations.update(created.id, metadata=None)

    assert {(reply.status, reply.json()["error"]["param"]) for reply in [*refused, empty]} == {(400, "metadata")}
    assert (kept.metadata, cleared.metadata) == ({"topic": "a"}, {})


@on_host
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/conversations", {"items": [{"type": "nonsense"}]}, "items[0].type"),
        ("/conversations", {"metadata": {"a": 1}}, "metadata"),
        ("/conversations", {"fork_from": "x"}, "fork_from"),
        ("/conversations/chat/items", {"items": []}, "items"),
        ("/conversations/chat/items", {"items": "hi"}, "items"),
        ("/conversations/chat/items", {"items": [{"type": "item_reference", "id": "x"}]}, "items"),
        ("/conversations/chat/items", {"items": [SAID] * 4}, "items"),
        (
            "/conversations",
            {"items": [{"role": "user", "content": [{"type": "input_text", "text": "a"}] * 9}]},
            "items",
        ),
    ],
)
async def test_a_bad_request_names_its_field(path: str, body: Any, param: str) -> None:
    async with own_routes(ScriptedAgent(["x"]), options=HostOptions(max_items=3, max_parts=8)) as client:
        await client.post("/responses", json={"input": "hi", "conversation": "chat"})
        reply = await client.post(path, json=body)

    assert (reply.status, reply.json()["error"]["param"]) == (400, param)


@on_host
@pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up", "after=msg_unknown"])
async def test_a_page_that_there_is_not_is_refused(query: str) -> None:
    async with own_routes(ScriptedAgent(["x"])) as client:
        await client.post("/responses", json={"input": "hi", "conversation": "chat"})
        reply = await client.get(f"/conversations/chat/items?{query}")

    assert (reply.status, reply.json()["error"]["param"]) == (400, query.partition("=")[0])


@on_host
async def test_items_are_not_changed_where_the_host_does_not_keep_them() -> None:
    async with own_routes(ScriptedAgent(["x"]), options=HostOptions(history="session")) as client:
        reply = await client.post("/conversations", json={"items": [SAID]})
        empty = await client.post("/conversations", json={})

    assert reply.status == 400 and "history" in reply.json()["error"]["message"] and empty.status == 200


async def test_the_session_of_the_agents_sdk_works(stores: Any) -> None:
    """The calls that `OpenAIConversationsSession` makes, in its order."""
    async with own_routes(ScriptedAgent(), stores=stores) as client, client.openai() as api:
        session = (await api.conversations.create(items=[])).id
        call: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
        output: Any = {"type": "function_call_output", "call_id": "c1", "output": "1"}
        await api.conversations.items.create(session, items=[SAID, call, output, ANSWERED])
        everything = [
            item.model_dump(exclude_unset=True) async for item in api.conversations.items.list(session, order="asc")
        ]
        newest = await api.conversations.items.list(session, limit=1, order="desc")
        await api.conversations.items.delete(newest.data[0].id or "", conversation_id=session)
        rest = [item.type async for item in api.conversations.items.list(session, order="asc")]
        await api.conversations.items.create(session, items=cast("Any", everything[:1]))

    assert [item["type"] for item in everything] == ["message", "function_call", "function_call_output", "message"]
    assert rest == ["message", "function_call", "function_call_output"]
