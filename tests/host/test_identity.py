"""Whose request it is: what the headers say, when they count, and that no two tenants share a key."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from hostedagent import AgentHost, HeaderScopeResolver, HostOptions, IsolationKeys, Scope, current_turn, memory_stores
from hostedagent.errors import Unauthenticated
from hostedagent.identity import LOCAL_USER, Caller, PlatformScopeResolver, ScopeResolver
from hostedagent.testing import InProcessClient, ScriptedAgent, serve
from tests.host.world import assert_refusal
from tests.isolation.probes import CANCEL, CREATE, DELETE, ITEMS, READ, Route
from tests.isolation.states import fresh_id

USER, CALL = "x-agent-user-id", "x-agent-foundry-call-id"
OLD_USER, OLD_CHAT = "x-agent-user-isolation-key", "x-agent-chat-isolation-key"
PRINCIPAL = "x-ms-client-principal-id"

ROUTES = (CREATE, READ, DELETE, CANCEL, ITEMS)
BODY = {"input": "hi"}

LOCAL = PlatformScopeResolver()
HOSTED = PlatformScopeResolver(is_hosted=True)
HOSTED_1 = PlatformScopeResolver(is_hosted=True, accepts_protocol_1=True)


class Asked(ScriptedAgent):
    """Answers every turn, and knows whose each was."""

    def __init__(self) -> None:
        super().__init__(*[["Hello."]] * 20)
        self.isolation: list[IsolationKeys] = []

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.isolation.append(current_turn().isolation)
        return super().run(*args, **kwargs)


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTING_ENVIRONMENT", "test")


def host(agent: ScriptedAgent | None = None, **more: Any) -> AgentHost:
    return AgentHost(agent or Asked(), stores=memory_stores(), **more)


async def knock(client: InProcessClient, route: Route, headers: Mapping[str, str]) -> Any:
    method, path = route
    url = path.replace("{response_id}", fresh_id("caresp"))
    return await client.request(method, url, json=BODY if route == CREATE else None, headers=headers)


PARTS = st.lists(st.text(max_size=8), max_size=4)


@given(st.text(max_size=8), st.none() | st.text(max_size=8), PARTS, st.text(max_size=8), st.none() | st.text(), PARTS)
def test_keys_meet_only_for_the_same_scope_and_the_same_parts(
    user: str, chat: str | None, parts: list[str], other_user: str, other_chat: str | None, other_parts: list[str]
) -> None:
    same = (user, chat, parts) == (other_user, other_chat, other_parts)

    assert (Scope(user, chat).key(*parts) == Scope(other_user, other_chat).key(*other_parts)) is same


@given(PARTS.filter(bool), st.integers(0, 40))
def test_a_key_shows_where_its_parts_end(parts: list[str], cut: int) -> None:
    joined = "".join(parts)
    at = cut % (len(joined) + 1)
    moved = [joined[:at], joined[at:]]

    if moved != parts:
        assert Scope("ann").key(*moved) != Scope("ann").key(*parts)
    assert Scope("ann").key(*parts, "") != Scope("ann").key(*parts)


@given(PARTS)
def test_a_chat_that_is_absent_is_not_one_without_a_name(parts: list[str]) -> None:
    assert len({Scope("ann", chat).key(*parts) for chat in (None, "", "-", "+")}) == 4


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_user_cannot_be_named_into_the_chat_of_another(user: str, chat: str) -> None:
    keys = {Scope(user, chat).key("p"), Scope(user).key(chat, "p"), Scope(user + chat).key("p")}

    assert len(keys) == 3 or chat == ""


@given(st.text(alphabet=st.characters(categories=["Cs"]), min_size=1, max_size=3))
def test_half_a_surrogate_pair_has_a_key_of_its_own(broken: str) -> None:
    assert Scope(broken).key(broken) != Scope("?").key("?")


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        pytest.param({}, IsolationKeys(None, None), id="nothing"),
        pytest.param({USER: ""}, IsolationKeys("", None), id="an empty user"),
        pytest.param({USER: "ann", CALL: "c"}, IsolationKeys("ann", None), id="protocol 2.0.0"),
        pytest.param({OLD_USER: "ann"}, IsolationKeys("ann", None), id="protocol 1.0.0"),
        pytest.param({OLD_USER: "ann", OLD_CHAT: ""}, IsolationKeys("ann", ""), id="an empty chat"),
        pytest.param({OLD_CHAT: "c"}, IsolationKeys(None, "c"), id="only a chat"),
        pytest.param({USER: "ann", OLD_USER: "bob", OLD_CHAT: "c"}, IsolationKeys("ann", None), id="both protocols"),
        pytest.param({USER: "", OLD_USER: "bob", OLD_CHAT: "c"}, IsolationKeys("", None), id="an empty user and 1.0.0"),
        pytest.param({CALL: "c", OLD_USER: "bob"}, IsolationKeys(None, None), id="a call id and 1.0.0"),
    ],
)
def test_absent_and_empty_are_told_apart_and_the_protocols_are_never_mixed(
    headers: dict[str, str], keys: IsolationKeys
) -> None:
    assert LOCAL(headers)[0] == keys
    if USER in headers or CALL in headers:
        for resolver in (HOSTED, HOSTED_1):
            if keys.user:
                assert resolver(headers)[0] == keys
            else:
                with pytest.raises(Unauthenticated):
                    resolver(headers)


def test_no_two_identities_share_a_scope() -> None:
    said = [
        {},
        {USER: ""},
        {USER: "ann"},
        {USER: LOCAL_USER},
        {OLD_USER: "bob"},
        {OLD_USER: "bob", OLD_CHAT: ""},
        {OLD_USER: "bob", OLD_CHAT: "1"},
        {OLD_USER: "bob", OLD_CHAT: "2"},
        {OLD_CHAT: "1"},
    ]

    assert len({LOCAL(headers)[1].key() for headers in said}) == len(said)


def test_without_identities_there_is_one_local_scope() -> None:
    assert LOCAL({}) == LOCAL({"x-client-name": "curl"}) == (IsolationKeys(), Scope(LOCAL_USER))


async def test_the_agent_learns_who_asks_where_the_host_is_not_hosted() -> None:
    agent = Asked()
    async with serve(host(agent).app) as client:
        for headers in ({USER: "ann"}, {OLD_USER: "bob", OLD_CHAT: "c"}, {}):
            assert (await client.post("/responses", json=BODY, headers=headers)).status == 200

    assert agent.isolation == [IsolationKeys("ann"), IsolationKeys("bob", "c"), IsolationKeys()]


async def test_the_chats_of_one_user_have_conversations_of_their_own() -> None:
    agent = Asked()
    async with serve(host(agent).app) as client:
        for chat in ("1", "2", "1"):
            headers = {OLD_USER: "ann", OLD_CHAT: chat}
            await client.post("/responses", json={"input": f"chat {chat}", "conversation": "conv_x"}, headers=headers)

    assert [[message.text for message in call.messages] for call in agent.calls] == [
        ["chat 1"],
        ["chat 2"],
        ["chat 1", "Hello.", "chat 1"],
    ]


NOBODY = {
    "nothing": {},
    "an empty user": {USER: ""},
    "a call id only": {CALL: "c"},
    "protocol 1.0.0": {OLD_USER: "ann"},
}


@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize("headers", NOBODY.values(), ids=NOBODY)
@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_a_hosted_agent_serves_nobody_unknown(route: Route, headers: dict[str, str]) -> None:
    agent = Asked()
    async with serve(host(agent).app) as client:
        reply = await knock(client, route, headers)

    assert assert_refusal(reply, 401)["code"] == "unauthenticated"
    assert not agent.calls


@pytest.mark.usefixtures("hosted")
async def test_a_hosted_agent_honours_protocol_1_where_it_is_configured() -> None:
    agent = Asked()
    async with serve(host(agent, options=HostOptions(accepts_protocol_1=True)).app) as client:
        met = await client.post("/responses", json=BODY, headers={OLD_USER: "ann", OLD_CHAT: "c"})
        unknown = await client.post("/responses", json=BODY, headers={OLD_CHAT: "c"})
        mixed = await client.post("/responses", json=BODY, headers={CALL: "c", OLD_USER: "ann"})

    assert (met.status, unknown.status, mixed.status) == (200, 401, 401)
    assert agent.isolation == [IsolationKeys("ann", "c")]


@pytest.mark.parametrize("name", [USER, CALL, OLD_USER, OLD_CHAT])
@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_an_identity_that_is_sent_twice_is_refused(route: Route, name: str) -> None:
    async with serve(host().app) as client:
        url = route[1].replace("{response_id}", fresh_id("caresp"))
        exchange = client.send(route[0], url, b"", [(name.encode(), b"ann"), (name.title().encode(), b"bob")])
        await exchange.start()
        exchange.disconnect()

    assert exchange.status == 400


EASY_AUTH = HeaderScopeResolver(header="X-MS-CLIENT-PRINCIPAL-ID")


@pytest.mark.parametrize("headers", [{}, {PRINCIPAL: ""}, {USER: "ann", CALL: "c"}], ids=str)
@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_a_resolver_for_one_header_serves_nobody_without_it(route: Route, headers: dict[str, str]) -> None:
    async with serve(host(resolve_scope=EASY_AUTH).app) as client:
        assert_refusal(await knock(client, route, headers), 401)


async def test_a_resolver_for_one_header_takes_the_user_from_it_alone() -> None:
    agent = Asked()
    async with serve(host(agent, resolve_scope=EASY_AUTH).app) as client:
        made = await client.post("/responses", json=BODY, headers={PRINCIPAL: "ann", USER: "bob"})
        url = f"/responses/{made.json()['id']}"
        own = await client.get(url, headers={PRINCIPAL: "ann", USER: "eve"})
        foreign = await client.get(url, headers={PRINCIPAL: "bob", USER: "bob"})

    assert (made.status, own.status, foreign.status) == (200, 200, 404)
    assert agent.isolation == [IsolationKeys("ann")]


def test_a_repeated_header_is_nobody_that_one_value_names() -> None:
    assert EASY_AUTH({PRINCIPAL: "ann, bob"})[1] not in (
        EASY_AUTH({PRINCIPAL: "ann"})[1],
        EASY_AUTH({PRINCIPAL: "bob"})[1],
    )


async def test_a_resolver_of_the_developer_decides() -> None:
    def by_tenant(headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        if "x-tenant" not in headers:
            raise Unauthenticated("Which tenant?")
        return IsolationKeys(headers["x-tenant"]), Scope(f"tenant:{headers['x-tenant']}")

    resolver: ScopeResolver = by_tenant
    async with serve(host(resolve_scope=resolver).app) as client:
        made = await client.post("/responses", json=BODY, headers={"X-Tenant": "one"})
        url = f"/responses/{made.json()['id']}"
        statuses = [(await client.get(url, headers=headers)).status for headers in ({"x-tenant": "two"}, {})]

    assert statuses == [404, 401]


@pytest.mark.parametrize("prefix", ["", "/agents/writer"])
async def test_a_mounted_host_guards_its_routes_too(prefix: str) -> None:
    agent = Asked()
    inner = host(agent, resolve_scope=EASY_AUTH, prefix=prefix)
    async with serve(inner.app), serve(Starlette(routes=[Mount("/mounted", inner.app)])) as client:
        root = f"/mounted{prefix}/responses"
        made = await client.post(root, json=BODY, headers={PRINCIPAL: "ann"})
        unknown = await client.post(root, json=BODY)
        url = f"{root}/{made.json()['id']}"
        foreign = await client.get(url, headers={PRINCIPAL: "bob"})
        own = await client.get(url, headers={PRINCIPAL: "ann"})
        snapshot = await client.post("/mounted/_agent/before-snapshot", json={})

    assert (made.status, unknown.status, foreign.status, own.status) == (200, 401, 404, 200)
    assert snapshot.status == 404


@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}], ids=str)
@pytest.mark.parametrize("user", ["ann", "bob"])
async def test_the_platform_names_a_response_once(user: str, more: dict[str, Any]) -> None:
    agent, name = Asked(), fresh_id("caresp")
    headers = {"x-agent-response-id": name, CALL: "c"}
    async with serve(host(agent).app) as client:
        made = await client.post("/responses", json=BODY, headers={**headers, USER: "ann"})
        again = await client.post("/responses", json={**BODY, **more}, headers={**headers, USER: user})
        kept = await client.get(f"/responses/{name}", headers={USER: "ann"})

    assert made.json()["id"] == kept.json()["id"] == name
    assert_refusal(again, 409)
    assert len(agent.calls) == 1


@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("wrong", [{"input": 7}, {"previous_response_id": fresh_id("caresp")}], ids=["bad", "unknown"])
async def test_the_name_of_a_response_that_was_refused_can_be_given_again(wrong: Any, driver: Any) -> None:
    name = fresh_id("caresp")
    headers = {"x-agent-response-id": name, CALL: "c", USER: "ann"}
    async with serve(host(Asked(), driver=driver).app) as client:
        refused = await client.post("/responses", json={**BODY, **wrong}, headers=headers)
        made = await client.post("/responses", json=BODY, headers=headers)

    assert 400 <= refused.status < 500
    assert (made.status, made.json().get("id")) == (200, name)


async def test_callers_do_not_name_responses() -> None:
    agent, name = Asked(), fresh_id("caresp")
    async with serve(host(agent).app) as client:
        refused = await client.post("/responses", json={**BODY, "response_id": name})
        made = await client.post("/responses", json=BODY, headers={"x-agent-response-id": name})

    assert assert_refusal(refused, 400)["param"] == "response_id"
    assert made.status == 200 and made.json()["id"] != name


def test_a_caller_is_kept_for_another_process_whole_but_for_call_id_and_token() -> None:
    caller = Caller(Scope("user:ada", "chat-1"), IsolationKeys("ada", "chat-1"), platform_user="ada")
    kept = replace(caller, call_id="call-1", token="secret-1").dump()
    assert Caller.load(json.loads(json.dumps(kept))) == caller
    assert "call-1" not in str(kept) and "secret-1" not in str(kept)
