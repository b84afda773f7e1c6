"""A workflow's run that an earlier process began."""

from __future__ import annotations

from agent_framework import Executor, WorkflowBuilder, WorkflowCheckpoint, WorkflowContext, handler, response_handler
from msgspec.structs import replace

from hostedagent.agents.checkpoints import LastCheckpoint
from hostedagent.agents.workflow import WorkflowInput, run_workflow


class Asking(Executor):
    """Asks, and goes on with the work meanwhile."""

    @handler
    async def start(self, text: str, context: WorkflowContext[str]) -> None:
        await context.request_info(text, str)
        await context.send_message(text)

    @response_handler
    async def answered(self, question: str, answer: str, context: WorkflowContext[str]) -> None:
        """Nobody answers here."""


class Working(Executor):
    """Says what it was given."""

    @handler
    async def work(self, text: str, context: WorkflowContext[str, str]) -> None:
        await context.yield_output(text)


async def run(given: WorkflowInput) -> list[str]:
    asking, working = Asking("asking"), Working("working")
    builder = WorkflowBuilder(start_executor=asking, output_from=[working], name="w")
    workflow = builder.add_edge(asking, working).build()
    return [content.type async for update in run_workflow(workflow, given) for content in update.contents]


async def test_what_was_asked_before_its_process_died_is_not_asked_again() -> None:
    saved: list[WorkflowCheckpoint] = []

    async def keep(checkpoint: WorkflowCheckpoint) -> None:
        saved.append(checkpoint)

    storage = LastCheckpoint()
    storage.after_save = keep
    given = WorkflowInput([], start="Which?", storage=storage)
    assert await run(given) == ["function_call", "text"]

    asked = next(checkpoint for checkpoint in saved if checkpoint.pending_request_info_events)
    assert await run(replace(given, storage=LastCheckpoint(asked), goes_on=True)) == ["text"]
