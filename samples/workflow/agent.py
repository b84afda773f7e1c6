"""Two agents write at the same time, and a person picks: fan-out, fan-in, and a question with a typed answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Never

from agent_framework import (
    Agent,
    AgentExecutorResponse,
    Executor,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
)
from pydantic import BaseModel, Field

from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient


@dataclass
class Choice:
    """What the person is asked."""

    slogans: list[str]


class Pick(BaseModel):
    """What the person answers."""

    number: int = Field(ge=1, le=2)


class Desk(Executor):
    """Gives the order to both writers."""

    @handler
    async def start(self, order: list[Message], ctx: WorkflowContext[list[Message]]) -> None:
        """Pass the order on."""
        await ctx.send_message(order)


class Editor(Executor):
    """Waits for both slogans and asks which one to print."""

    @handler
    async def collect(self, drafts: list[AgentExecutorResponse], ctx: WorkflowContext[Never, str]) -> None:
        """Ask."""
        await ctx.request_info(Choice([draft.agent_response.text for draft in drafts]), Pick)

    @response_handler
    async def print_it(self, asked: Choice, pick: Pick, ctx: WorkflowContext[Never, str]) -> None:
        """Print the one that was picked."""
        await ctx.yield_output(f"Printed: {asked.slogans[pick.number - 1]}")


def writer(name: str, *, style: str) -> Agent:
    """An agent that writes a slogan."""

    def reply(messages: Sequence[Message], options: Mapping[str, object]) -> str:
        return f"{messages[-1].text}? {style}"

    client = OfflineChatClient(script=[reply])  # A real chat client goes here.
    return Agent(client, name=name, instructions=f"Write a slogan. {style}")


def build() -> WorkflowBuilder:
    """A fresh workflow for each turn; its name and the ids of its executors stay the same."""
    desk, editor = Desk(id="desk"), Editor(id="editor")
    writers = [writer("bold", style="Go big!"), writer("calm", style="Take your time.")]
    return (
        WorkflowBuilder(name="slogans", start_executor=desk, output_from=[editor], intermediate_output_from=[*writers])
        .add_fan_out_edges(desk, writers)
        .add_fan_in_edges(writers, editor)
    )


host = AgentHost(build)

if __name__ == "__main__":
    host.run()
