"""The host that clients call on the routes beside `/responses`."""

from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.testing import OfflineChatClient

host = AgentHost(Agent(OfflineChatClient(), name="assistant"), driver="starlette")
