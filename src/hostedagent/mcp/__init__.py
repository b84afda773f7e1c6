"""MCP servers as tools: connected when a turn needs them, with the identity of that turn, and closed at its end."""
