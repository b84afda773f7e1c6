"""Driver: the routes of `ResponsesAgentServerHost`."""
