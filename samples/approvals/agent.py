"""An agent that asks before it acts: one tool is free to run, the other needs the caller's approval each time."""

from typing import Literal

from agent_framework import Agent, tool

from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient

BALANCES = {"savings": 100, "checking": 20}


@tool
def get_balance(account: Literal["savings", "checking"]) -> str:
    """Get the balance of an account."""
    return f"{BALANCES[account]} euros"


@tool(approval_mode="always_require")
def send_money(recipient: Literal["Ada", "Grace"], amount: int) -> str:
    """Send an amount of money to a person."""
    BALANCES["checking"] -= amount
    return f"sent {amount} euros to {recipient}, {BALANCES['checking']} are left"


agent = Agent(
    OfflineChatClient(),
    name="cashier",
    instructions="You look after the caller's accounts.",
    tools=[get_balance, send_money],
)

if __name__ == "__main__":
    AgentHost(agent).run()
