"""An agent that keeps approvals, and has a tool that waits until the file `go` stands in the server's folder."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from agent_framework import Agent, Content, Message, ToolApprovalMiddleware, tool

from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import OfflineChatClient

FOLDER = Path.cwd()


@tool
async def write_report() -> str:
    """Write a report; it takes until the file is there."""
    while not (FOLDER / "go").exists():  # noqa: ASYNC110 - the test has no other way to tell it
        await asyncio.sleep(0.05)
    return "300 pages"


@tool
def count_pages() -> str:
    """Count."""
    return "11 pages"


@tool(approval_mode="always_require")
def send_money(recipient: Literal["Ada", "Grace"]) -> str:
    """Send money."""
    return f"sent to {recipient}"


def reply(messages: Sequence[Message], options: Mapping[str, object]) -> str | list[Content]:
    """Call the tool that the latest message names, then say what it gave."""
    said = [message for message in messages if message.role == "user"][-1]
    results = [part for message in messages for part in message.contents if part.type == "function_result"]
    after = messages[messages.index(said) + 1 :]
    number, made = len(messages), sum(part.type == "function_result" for row in after for part in row.contents)
    match said.text:
        case "count, then report" if made < 2:
            name = ("count_pages", "write_report")[made]
            return [Content.from_function_call(f"call-{number}", name, arguments="{}")]
        case _ if made:
            return f"Done: {results[-1].result}."
        case "report" | "count":
            name = "write_report" if said.text == "report" else "count_pages"
            return [Content.from_function_call(f"call-{number}", name, arguments="{}")]
        case text if text.startswith("send to "):
            recipient = text.removeprefix("send to ")
            arguments = f'{{"recipient": "{recipient}"}}'
            return [Content.from_function_call(f"call-{number}", "send_money", arguments=arguments)]
        case text:
            return f"You said {text!r}, and I know {[part.result for part in results]}."


agent = Agent(
    OfflineChatClient(script=[reply] * 40),
    name="lasting",
    tools=[write_report, count_pages, send_money],
    middleware=[ToolApprovalMiddleware()],
)
host = AgentHost(agent, options=HostOptions(resilient_background=True), stores=sqlite_stores("hostedagent.db"))
