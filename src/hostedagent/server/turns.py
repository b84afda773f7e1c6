"""Turns without routes, for the doors of a host and for the routes of an application.

They behave as on the routes of the Responses protocol: refusals before anything runs, leases on conversations,
approvals, history, isolation by caller, hooks, storage.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from hostedagent.conversation.managed import check_history, leave_out
from hostedagent.conversation.transcript import history_ids, read_items
from hostedagent.engine.concurrency import never
from hostedagent.engine.hooks import BeforeRun, prepare
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.errors import Unauthenticated
from hostedagent.identity import Caller, IsolationKeys, scope_of
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.server.admission import parse_request, sandbox_session
from hostedagent.server.exchange import check_response_id
from hostedagent.server.paging import page_asked
from hostedagent.server.responses import input_items_page
from hostedagent.server.turn import TransformEvent, Turn, replayed, request_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorHooks:
    """The name and the hooks of a door.

    Args:
        name: The name in telemetry.
        before_run: As in `Hooks`, but before the request is accepted, so that a refusal has a real status.
        transform_event: Returns the replacement of each event.
    """

    name: str = "responses"
    before_run: BeforeRun | None = None
    transform_event: TransformEvent | None = None


class TurnRunner:
    """Begins, reads and cancels turns.

    Concurrency: for any number of turns at a time, on one event loop.
    """

    def __init__(self, responses: RecordedResponses, door: DoorHooks | None = None) -> None:
        self._responses = responses
        self._options = responses.engine.options
        self._door = door or DoorHooks(name="embed")

    def check_accepts(self) -> None:
        """Refuse new turns during shutdown.

        Raises:
            Unavailable: The process is shutting down.
        """
        self._responses.engine.check_accepts()

    @asynccontextmanager
    async def begin(
        self,
        body: Mapping[str, Any] | bytes | str | TurnRequest,
        caller: Caller | str,
        *,
        left: Callable[[], Awaitable[object]] | None = None,
        response_id: str = "",
        session_id: str | None = None,
        client_headers: Mapping[str, str] | None = None,
        state: dict[str, Json] | None = None,
    ) -> AsyncGenerator[Turn]:
        """Accept a request; at the end of the block its turn has ended or was never started.

        Args:
            body: The body of a create-response request, as bytes or parsed; or the request itself.
            caller: The user's id, or a `Caller`. Callers can access only their own data.
            left: Returns when the caller has disconnected, which ends the wait for a slot.
            response_id: The id of the response, in the form that the host gives; by default a new one.
            session_id: The platform's sandbox session; by default the one that the body or the container names.
            client_headers: The client's `x-client-*` headers.
            state: State that the client shares with the agent, as `current_turn().state`.

        Raises:
            RequestError: The request is refused, with `status`, `param` and `body()`; nothing was run or stored.
        """
        engine = self._responses.engine
        engine.check_accepts()
        if response_id:
            check_response_id(response_id)
        fields, request = await self._parsed(body)
        said = {"client_headers": client_headers or {}, "state": state}
        request = replace(request, caller=caller_of(caller), door=self._door.name, **said)
        if self._door.before_run is not None:
            request = await prepare(self._door.before_run, request)
        with request_errors(request.previous_response_id or ""):
            session_id = session_id or request.sandbox_session_id or sandbox_session(fields)
            # The application cancels the task of a caller that leaves.
            context = await engine.accept(request.named(response_id, session_id), left or never)
        try:
            context.body = fields or None
            turn = Turn(self._responses, context, self._options.keep_alive, self._door.transform_event)
            try:
                yield turn
            finally:
                await turn.leave()
        finally:
            await engine.abandon(context)

    async def _parsed(
        self, body: Mapping[str, Any] | bytes | str | TurnRequest
    ) -> tuple[Mapping[str, Json], TurnRequest]:
        if isinstance(body, TurnRequest):
            return {}, body
        given, request = await parse_request(_bytes_of(body), self._options)
        return given.fields, request

    async def conversation_items(self, caller: Caller | str, conversation_id: str) -> tuple[Item, ...]:
        """The items of a conversation that its next turn reads, oldest first; none if there is no conversation.

        Raises:
            RequestError: The stores are not available.
        """
        services, caller = self._responses.engine.services, caller_of(caller)
        with request_errors(""):
            head = await services.sessions.head(caller, conversation_id)
            of = TurnRequest(input=(), conversation_id=conversation_id)
            return await read_items(
                services.responses, caller, await history_ids(services.responses, caller, of, head.excluded)
            )

    async def leave_out(self, caller: Caller | str, conversation_id: str, item_ids: Sequence[str]) -> None:
        """Keep items out of the later turns of a conversation; they stay with their responses.

        Raises:
            RequestError: A turn is running in it, or the host does not keep what its agent knows of it.
        """
        check_history(self._options.history)
        services = self._responses.engine.services
        with request_errors(""):
            await leave_out(services.sessions, services.responses, caller_of(caller), conversation_id, item_ids)

    async def retrieve(self, response_id: str, caller: Caller | str) -> dict[str, Any]:
        """A response, also while it runs.

        Raises:
            RequestError: It does not exist, or belongs to another caller.
        """
        with request_errors(response_id, checks=True):
            return await self._responses.engine.retrieve(caller_of(caller), response_id)

    async def replay(self, response_id: str, caller: Caller | str, *, after: int = -1) -> AsyncGenerator[Event]:
        """The events of a background stream with a higher `sequence_number`: the existing ones, then the new ones.

        Raises:
            RequestError: The response does not exist, belongs to another caller, or its events are not stored. Raised
                at once, before anything is iterated.
        """
        with request_errors(response_id, checks=True):
            batches = await self._responses.engine.replay(caller_of(caller), response_id, after=after)
        return replayed(batches, self._door.transform_event)

    async def cancel(self, response_id: str, caller: Caller | str, *, of_any_kind: bool = False) -> dict[str, Any]:
        """Cancel a background turn, and return its response once the turn has ended.

        Args:
            of_any_kind: Whether also a turn in the foreground is cancelled.

        Raises:
            RequestError: It does not exist, belongs to another caller, ran in the foreground, or has ended.
        """
        with request_errors(response_id, checks=True):
            return await self._responses.engine.cancel(caller_of(caller), response_id, of_any_kind=of_any_kind)

    async def delete(self, response_id: str, caller: Caller | str) -> None:
        """Delete a response and everything that belongs to it.

        Raises:
            RequestError: It does not exist, belongs to another caller, or is still running.
        """
        with request_errors(response_id, checks=True):
            await self._responses.engine.delete(caller_of(caller), response_id)

    async def input_items(
        self,
        response_id: str,
        caller: Caller | str,
        *,
        limit: int = 20,
        order: str = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> dict[str, Any]:
        """A page of the input items of a response, the history before it included, as a list object.

        Raises:
            RequestError: The response does not exist, or belongs to another caller.
        """
        asked = {"limit": str(limit), "order": order, "after": after, "before": before}
        page = page_asked({name: value for name, value in asked.items() if value is not None})
        with request_errors(response_id, checks=True):
            return await input_items_page(self._responses.engine, caller_of(caller), response_id, page)


def caller_of(caller: Caller | str) -> Caller:
    """The caller with this user id.

    Raises:
        Unauthenticated: The id is empty.
    """
    if isinstance(caller, Caller):
        return caller
    if not caller:
        raise Unauthenticated("The request carries no identity.")
    keys = IsolationKeys(caller)
    return Caller(scope_of(keys), keys)


def _bytes_of(body: Mapping[str, Any] | bytes | str) -> bytes:
    match body:
        case bytes():
            return body
        case str():
            return body.encode("utf-8", "surrogatepass")
        case _:
            return encode(body)
