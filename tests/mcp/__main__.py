"""A server that is a command: `python -m tests.mcp`."""

from tests.mcp.server import weather

weather().run()
