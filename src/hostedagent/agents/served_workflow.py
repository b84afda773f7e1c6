"""A workflow as the agent of a turn: a graph, a functional workflow, or the agent that one of them was made into.

The host does not run such an agent by its `run` method: its history policy restores the workflow from a checkpoint and
runs it from there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import AgentSession

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, FunctionalWorkflowAgent, WorkflowEvent


class ServedWorkflow:
    """Gives a workflow the members of an agent.

    Args:
        workflow: A `Workflow`, a `FunctionalWorkflow` or a `FunctionalAgentRuns`.
        name: Name of the agent; defaults to the workflow's.
        context_providers: The context providers of the agent that the workflow was made into.
    """

    def __init__(self, workflow: Any, *, name: str | None = None, context_providers: Sequence[Any] = ()) -> None:
        self.workflow = workflow
        self.name = name or workflow.name
        self.id = self.name or type(workflow).__name__
        self.description: str | None = getattr(workflow, "description", None)
        self.context_providers = list(context_providers)

    def run(self, messages: Any = None, **_: Any) -> Any:
        """Never called."""
        raise NotImplementedError("A workflow is run from its checkpoint.")

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        """A session, which a workflow does not use."""
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        """A session, which a workflow does not use."""
        return AgentSession(session_id=session_id, service_session_id=service_session_id)


class FunctionalAgentRuns:
    """The functional workflow inside a `FunctionalWorkflowAgent`, run through the agent because it is not public."""

    def __init__(self, agent: FunctionalWorkflowAgent) -> None:
        self._agent = agent
        self.name = agent.name
        self.description = agent.description
        self.graph_signature_hash: str | None = None
        """Not known; Agent Framework itself refuses the checkpoint of another version."""

    async def run(
        self, message: Any = None, **arguments: Any
    ) -> AsyncGenerator[WorkflowEvent[Any] | AgentResponseUpdate]:
        """The updates of a run, and its request events."""
        run = cast("Any", self._agent.run)
        async for update in run(message, **arguments):
            asked = [content.id for content in update.contents if content.type == "function_approval_request"]
            for request_id in asked:
                if (event := self._agent.pending_requests.get(request_id)) is not None:
                    yield event
            if not asked:
                yield update


def as_served(made: Any) -> ServedWorkflow | None:
    """A workflow, or the agent of one, as the agent of a turn; `None` for anything else."""
    from agent_framework import FunctionalWorkflow, FunctionalWorkflowAgent, Workflow, WorkflowAgent

    match made:
        case WorkflowAgent():
            return ServedWorkflow(made.workflow, name=made.name, context_providers=made.context_providers)
        case FunctionalWorkflowAgent():
            runs = FunctionalAgentRuns(made)
            return ServedWorkflow(runs, name=made.name, context_providers=made.context_providers)
        case Workflow() | FunctionalWorkflow():
            return ServedWorkflow(made)
        case _:
            return None
