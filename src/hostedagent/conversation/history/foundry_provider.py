"""`FoundryHistoryProvider`: the host's response store as an Agent Framework history provider.

An agent that runs outside the host shares the host's responses, items and scopes. `bind_request_context` names the
response that a run continues and the one that it creates. In a host with `history="session"` no binding is needed: the
turn provides the ids, and the host stores the response itself.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from agent_framework import HistoryProvider, Message
from msgspec import Struct

from hostedagent.conversation.transcript import WHOLE, history_ids, read_items
from hostedagent.errors import Conflict, HostError
from hostedagent.identity import Caller, IsolationKeys, Scope, current_caller, current_context, scope_of
from hostedagent.protocol.content import approval
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.approvals import Answered
from hostedagent.protocol.transcript.items import split, write_input, write_output
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.types import Item, MutableItem, answered_calls
from hostedagent.stores.base import StoreConflict
from hostedagent.stores.factory import Stores, default_stores
from hostedagent.stores.sessions import Sessions


class _Binding(Struct):
    """The responses that one run reads and writes."""

    response_id: str
    previous_response_id: str | None
    is_saved: bool = False


class HostedTurn(Struct, frozen=True):
    """A turn of a host, which itself reads the history and stores the response."""

    history: Callable[[], Awaitable[Sequence[Item]]]
    trusts_roles: bool


_bound: ContextVar[_Binding | None] = ContextVar("hostedagent_history_binding", default=None)


class FoundryHistoryProvider(HistoryProvider):
    """Keeps an agent's history in the response store.

    Example:
        ```python
        history = FoundryHistoryProvider(foundry_stores(), scope=IsolationKeys(user))
        agent = Agent(client, context_providers=[history])
        with history.bind_request_context(response_id, previous_response_id):
            await agent.run("Hello.")
        ```

    Args:
        stores: The stores of the responses; by default Foundry when hosted, else memory. Pass the host's stores.
        scope: The owner of the responses; by default that of the request being served, else the local user.
        source_id: The provider's name in a session's state.
    """

    def __init__(
        self,
        stores: Stores | None = None,
        *,
        scope: Scope | IsolationKeys | None = None,
        source_id: str = "foundry_history",
    ) -> None:
        super().__init__(source_id)
        self._stores = stores or default_stores()
        self._repository = self._stores.responses
        self._sessions = Sessions(self._stores.state)
        self._scope = scope_of(scope) if isinstance(scope, IsolationKeys) else scope

    @contextmanager
    def bind_request_context(self, response_id: str, previous_response_id: str | None = None) -> Generator[None]:
        """Set the response that runs inside the block create, and the one that they continue.

        The binding applies to this context and the tasks started from it, so that concurrent runs are independent.

        Args:
            response_id: The response to write.
            previous_response_id: The response to continue; `None` for a first turn.
        """
        token = _bound.set(_Binding(response_id, previous_response_id))
        try:
            yield
        finally:
            _bound.reset(token)

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        """The history of the response that the run continues.

        Raises:
            NotFound: It does not exist, or belongs to another user.
            HostError: No response is bound.
        """
        if (turn := _hosted()) is not None:
            items = await turn.history()
            return to_messages(items, (), trusts_roles=turn.trusts_roles, answered=_waiting(items))
        binding = _binding()
        previous = binding.response_id if binding.is_saved else binding.previous_response_id
        if previous is None:
            return []
        items = await self._read(previous)
        return to_messages(items, (), trusts_roles=True, answered=_waiting(items))

    async def save_messages(
        self, session_id: str | None, messages: Sequence[Message], *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Write the response, with the messages passed to the run as its input and those from the run as its output.

        If it is called again in one binding, the messages are added to the output.

        Raises:
            Conflict: A response with this id was written before.
            HostError: Nothing is bound.
        """
        if _hosted() is not None:
            return
        binding = _binding()
        if binding.is_saved:
            await self._add(binding, messages)
        else:
            await self._create(binding, messages)
        binding.is_saved = True

    async def _read(self, previous: str) -> tuple[Item, ...]:
        caller = self._caller()
        excluded = (await self._sessions.resume(caller, previous)).excluded
        request = TurnRequest(input=(), previous_response_id=previous)
        ids = await history_ids(self._repository, caller, request, excluded)
        return await read_items(self._repository, caller, ids)

    async def _create(self, binding: _Binding, messages: Sequence[Message]) -> None:
        given, said = split(messages)
        caller, repository, response_id = self._caller(), self._repository, binding.response_id
        history = None
        if binding.previous_response_id is not None:
            history = await repository.history_ids(caller, binding.previous_response_id, None, WHOLE)
        response = _response(binding, write_output(said, response_id))
        try:
            await repository.create(caller, response, write_input(given, response_id), history)
        except StoreConflict:
            raise Conflict(f"Response with id '{response_id}' was written before.", param="response_id") from None

    async def _add(self, binding: _Binding, messages: Sequence[Message]) -> None:
        caller = self._caller()
        given, said = split(messages)
        stored = await self._repository.get(caller, binding.response_id)
        more = [*write_input(given, binding.response_id), *write_output(said, binding.response_id)]
        await self._repository.update(caller, {**stored, "output": [*stored["output"], *more]})

    def _caller(self) -> Caller:
        caller = current_caller()
        return replace(caller, scope=self._scope) if self._scope is not None else caller


def _hosted() -> HostedTurn | None:
    """The turn of a host with `history="session"`; a binding by the agent takes precedence."""
    context = current_context()
    hosted = context.hosted_history if context is not None and _bound.get() is None else None
    return hosted if isinstance(hosted, HostedTurn) else None


def _binding() -> _Binding:
    binding = _bound.get()
    if binding is None:
        raise HostError(
            "FoundryHistoryProvider does not know which response to read and write: "
            "run the agent inside `with provider.bind_request_context(response_id, previous_response_id):`."
        )
    return binding


def _response(binding: _Binding, output: list[MutableItem]) -> MutableItem:
    response: MutableItem = {
        "id": binding.response_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": "",
        "output": output,
    }
    if binding.previous_response_id is not None:
        response["previous_response_id"] = binding.previous_response_id
    return response


def _waiting(items: Sequence[Item]) -> Answered:
    """Approval requests whose calls have not run: Agent Framework needs them when they are answered."""
    settled = answered_calls(items)
    asked = [approval.read(item)[0] for item in items if item.get("type") == "mcp_approval_request"]
    return Answered(
        waiting=frozenset(
            row.id for row in asked if row.id and row.function_call and row.function_call.call_id not in settled
        )
    )
