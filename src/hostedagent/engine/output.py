"""Turns the updates of one run into events, and performs their effects."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, assert_never

from hostedagent.agents.exits import STOPS
from hostedagent.agents.result import Ending
from hostedagent.agents.run import model_name
from hostedagent.agents.usage import UsageCount
from hostedagent.conversation.approvals import ApprovalTracker
from hostedagent.conversation.history.base import Compaction
from hostedagent.observability.logging import log_failure
from hostedagent.options import HostOptions
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.content import COMPLETED, INCOMPLETE, Output
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.coalescing import Merge
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import CountUsage, Effect, Emission, EndTurn, Event, Json, SaveApproval
from hostedagent.protocol.wire import wire_text

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate

SHUT_DOWN: Final = Failed("server_error", "The server was stopped before the turn had ended. Send the request again.")

logger = logging.getLogger(__name__)


class EndedEarly(Exception):
    """Raised when a part ended the turn, or the run ended in an earlier process."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome


class TurnOutput:
    """The events and the response of one turn.

    Args:
        is_watched: Whether the client reads events; otherwise finished items suffice.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        approvals: ApprovalTracker,
        options: HostOptions,
        *,
        is_watched: bool,
        usage: Json = None,
    ) -> None:
        self.builder = builder
        builder.is_watched = is_watched
        self.approvals = approvals
        self.items = Output(
            builder,
            own_tools=options.own_tools,
            consent_origins=options.consent_origins,
            consent=options.consent,
        )
        self.ending = Ending()
        self.usage = UsageCount(usage)
        self.is_broken = False
        """Whether an item could not be written at the end, so that the response is not what the agent said."""
        self.compaction: Compaction | None = None
        """The result of compacting the conversation; its item precedes the output of the run."""
        self._projection = Projection(self.items)
        self._merge = Merge(is_watched=is_watched)

    @property
    def response(self) -> dict[str, Json]:
        """The response, which grows with each finished item."""
        return self.builder.response

    def describe(self, echo: Mapping[str, Json], agent: object = None) -> None:
        """Repeat the request in the response, with the model and, unless the caller names one, the agent."""
        self.response.update(echo)
        if (model := model_name(agent)) is not None:
            self.response["model"] = model
        name = getattr(agent, "name", None)
        if isinstance(name, str) and name and "agent_reference" not in echo:
            self.response["agent_reference"] = {"type": "agent_reference", "name": wire_text(name)}

    def emissions(self, updates: Iterable[AgentResponseUpdate]) -> Iterator[Emission]:
        """The events of updates, and the effects that must be performed before the following events."""
        return self._merge.merged(self._project(updates))

    async def perform(self, effect: Effect) -> None:
        """Perform an effect.

        Raises:
            EndedEarly: The effect ends the turn.
        """
        match effect:
            case CountUsage():
                self.usage.count(effect)
            case SaveApproval():
                await self.approvals.ask(effect)
            case EndTurn():
                raise EndedEarly(effect.outcome)
            case _:
                assert_never(effect)

    def closing(self, outcome: Outcome, rest: Iterable[AgentResponseUpdate] = ()) -> Iterator[Event]:
        """Emit the updates that have arrived, and close open items. An error here sets `is_broken`."""
        end = COMPLETED if isinstance(outcome, Completed) else INCOMPLETE
        yield from self._merge.rest()
        parts = [self._without_questions(rest), self._projection.close(end)]
        for last in parts:
            try:
                for emission in self._merge.merged(last):
                    if isinstance(emission, dict):
                        yield emission
            except STOPS:
                raise
            except BaseException as error:  # noqa: BLE001 - the terminal event must still come
                log_failure(logger, f"Closing the items of {self.builder.id} failed", error)
                if not self.is_broken:  # What cannot be closed as planned is closed with what was sent of it.
                    parts.append(self._projection.close(INCOMPLETE))
                self.is_broken = True

    def terminal(self, outcome: Outcome) -> Event | None:
        """The terminal event; none if the client stopped the turn, which the driver reports."""
        builder, usage = self.builder, self.usage.wire()
        if (model := self.ending.model) is not None:
            builder.response["model"] = model
        match outcome:
            case Completed():
                return builder.completed(usage)
            case Incomplete(reason):
                return builder.incomplete(reason, usage)
            case Failed():
                return builder.failed(outcome, usage)
            case Cancelled("shutdown"):
                return builder.failed(SHUT_DOWN, usage)
            case Cancelled():
                return None
            case _:
                assert_never(outcome)

    def _compacted(self) -> Iterator[Event]:
        """The compaction item, once."""
        compaction, self.compaction = self.compaction, None
        if compaction is None:
            return
        if compaction.usage is not None:
            self.usage.add(compaction.usage)
        item = self.builder.open_item(self.items.new_id("cmp"), None)
        yield item.added({"type": ITEM, "encrypted_content": ""})
        yield item.done({"type": ITEM, "encrypted_content": compaction.sealed})

    def _project(self, updates: Iterable[AgentResponseUpdate]) -> Iterator[Emission]:
        yield from self._compacted()
        for update in updates:
            if update is self.ending.calls.cut_at:
                return
            if self.approvals.open and update.role == "tool":
                for part in self.approvals.settled_calls(update):
                    yield from self._projection.part(part)
            yield from self._projection.update(update)

    def _without_questions(self, rest: Iterable[AgentResponseUpdate]) -> Iterator[Emission]:
        """The output of a stopped run up to an approval request, which would have to be saved before it is sent."""
        for emission in self._project(rest):
            match emission:
                case SaveApproval() | EndTurn():
                    return
                case CountUsage():
                    self.usage.count(emission)
                case event:
                    yield event
