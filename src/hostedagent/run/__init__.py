"""The run: what drives an agent, from its arguments to the end of its updates."""
