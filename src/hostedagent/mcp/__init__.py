"""MCP servers as tools: connected on first use in a turn, with the identity of its user, and closed at its end."""
