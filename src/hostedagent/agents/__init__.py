"""Agent Framework: creating agents, running them and reading their updates."""
