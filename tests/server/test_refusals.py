"""The headers of a refusal, and what of a request outlives it: nothing."""

from __future__ import annotations

from typing import Any, cast

import openai
import pytest
from azure.ai.agentserver.core import (
    FoundryAgentRequestContext,
    get_request_context,
    reset_request_context,
    set_request_context,
)
from starlette.types import Message, Receive, Scope, Send

from hostedagent import AgentHost
from hostedagent.errors import Busy, Conflict, InvalidRequest, RequestError, Unavailable
from hostedagent.identity import Caller, current_context
from hostedagent.identity import Scope as Owner
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.server.admission import refusal
from hostedagent.server.agentserver.app import App
from hostedagent.server.agentserver.middleware import AdmissionMiddleware
from hostedagent.server.frames import Steer
from hostedagent.server.steering import Accepted
from hostedagent.server.successors import PendingInputs
from hostedagent.testing import ScriptedAgent, serve
from tests.replicas.test_store_away import ask

ADA, BOB = Caller(Owner("user:ada")), Caller(Owner("user:bob"))


@pytest.mark.parametrize(
    ("error", "source"),
    [
        (InvalidRequest("No."), b"user"),
        (Conflict("No."), b"user"),
        (Busy("No."), b"user"),
        (Unavailable("No."), b"platform"),
    ],
)
def test_a_refusal_says_whose_fault_it_is(error: RequestError, source: bytes) -> None:
    body, pairs = refusal(error, None)
    headers = dict(pairs)
    assert headers[b"x-platform-error-source"] == source
    assert headers[b"content-length"] == str(len(body)).encode()
    assert headers.get(b"retry-after") == (None if error.retry_after is None else str(error.retry_after).encode())
    assert headers.get(b"x-should-retry") == (b"false" if type(error) is Conflict else None)


async def test_the_openai_client_does_not_repeat_what_stays_refused() -> None:
    requests: list[str] = []
    host = AgentHost(ScriptedAgent([ask(1)], ["Paid."]), driver="starlette").app

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        requests.append(scope["type"])
        await host(scope, receive, send)

    async with serve(counted) as client, client.openai(max_retries=2) as api:
        asked = await api.responses.create(input="hi", conversation="conv_1")
        (question,) = [item.id for item in asked.output if item.type == "mcp_approval_request"]
        said: Any = [{"type": "mcp_approval_response", "approval_request_id": question, "approve": True}]
        await api.responses.create(input=said, conversation="conv_1")
        before = len(requests)
        with pytest.raises(openai.ConflictError, match="answered before"):
            await api.responses.create(input=said, conversation="conv_1")

    assert len(requests) - before == 1


@pytest.mark.parametrize("path", ["/responses", "/responses/caresp_1", "/other"])
@pytest.mark.parametrize("error", [None, InvalidRequest("No.")])
async def test_the_context_of_a_request_ends_with_it(path: str, error: Exception | None) -> None:
    seen: list[tuple[Any, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((get_request_context(), current_context()))
        if error is not None and path != "/other":
            raise error

    async def never() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        pass

    host = AgentHost(ScriptedAgent(["never"])).app
    assert isinstance(host, App)
    served = AdmissionMiddleware(app, **cast("Any", host.user_middleware[-1].kwargs))
    scope: Scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "root_path": ""}
    token = set_request_context(FoundryAgentRequestContext(user_id="outer"))
    try:
        await served(scope, never, send)
        assert (get_request_context().user_id, current_context()) == ("outer", None)
    finally:
        reset_request_context(token)
    assert [context.user_id for context, _ in seen] == [None]


def continuing(response_id: str, caller: Caller = ADA) -> TurnRequest:
    return TurnRequest(input=({"id": "new"},), previous_response_id=response_id, caller=caller)


def ids(pending: PendingInputs, request: TurnRequest) -> list[Any]:
    """The ids of the input of a request, with the inputs that wait for it; its body has the same."""
    taken, body = pending.in_front_of(request, RequestBody({"input": list(request.input)}))
    assert body.fields["input"] == list(taken.input)
    return [item["id"] for item in taken.input]


def accepted(name: str) -> Accepted:
    return Accepted("steer_1", Steer("", name, TurnRequest(input=({"id": name},))))


def test_inputs_that_wait_for_a_request_are_read_in_front_of_it_and_once() -> None:
    pending = PendingInputs()
    assert ids(pending, continuing("r1")) == ["new"]
    assert pending.take(ADA, "r1") == ()
    pending.keep(ADA, "r1", [accepted("a")])
    pending.keep(ADA, "r2", [accepted("c")])
    pending.keep(ADA, "r1", [accepted("b")])

    assert ids(pending, continuing("r1", BOB)) == ["new"]
    assert ids(pending, TurnRequest(input=(), caller=ADA)) == []
    for _ in range(2):  # A request that is refused has not taken them.
        assert ids(pending, continuing("r1")) == ["a", "b", "new"]
    assert pending.take(BOB, "r1") == ()
    assert ids(pending, continuing("r1")) == ["a", "b", "new"]
    assert len(pending.take(ADA, "r1")) == 2
    assert ids(pending, continuing("r1")) == ["new"]
    assert ids(pending, continuing("r2")) == ["c", "new"]


def test_inputs_wait_for_a_thousand_responses_at_most() -> None:
    pending = PendingInputs()
    for n in range(1_001):
        pending.keep(ADA, f"r{n}", [accepted("a")])
    kept = [n for n in range(1_001) if len(ids(pending, continuing(f"r{n}"))) == 2]
    assert kept == list(range(1, 1_001))
